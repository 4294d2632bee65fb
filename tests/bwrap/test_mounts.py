# SPDX-License-Identifier: Apache-2.0
"""What the options put into the root: binds, data, directories, links, file systems, overlays."""

import os
import socket
import stat

import pytest
from bwrap_call import HOST

# For a sandbox in the sandbox.
NESTING = ("--unshare-user", "--uid", "0", "--gid", "0", "--cap-add", "ALL")
RO_HOST = ("--ro-bind", "/", "/", "--tmpfs", "/tmp")


# --- binds


@pytest.mark.parametrize(
    "option,has,lacks",
    [
        ("--bind", {"rw", "nosuid", "nodev"}, {"ro"}),
        ("--ro-bind", {"ro", "nosuid", "nodev"}, {"rw"}),
        ("--dev-bind", {"rw", "nosuid"}, {"ro", "nodev"}),
        ("--bind-try", {"rw", "nosuid", "nodev"}, {"ro"}),
        ("--ro-bind-try", {"ro", "nosuid", "nodev"}, {"rw"}),
        ("--dev-bind-try", {"rw", "nosuid"}, {"ro", "nodev"}),
    ],
)
@pytest.mark.parametrize("what", ["sub", "file"])
def test_bind_has_its_flags(bwrap, tree, option, has, lacks, what):
    flags, _ = bwrap.mounts(*HOST, option, tree / what, "/tmp/x")["/tmp/x"]
    if option.startswith("--dev"):
        # A flag that the host's mount has, and that may not be taken away.
        lacks = lacks - bwrap.mounts("--dev-bind", "/", "/")["/"][0]
    assert has <= flags and not lacks & flags


def test_bind_is_recursive_and_so_is_read_only(bwrap, tree):
    inner = ("--tmpfs", "/tmp/a", "--tmpfs", "/tmp/a/b", "--tmpfs", "/tmp/a/b/c")
    again = (*RO_HOST, "--ro-bind", "/tmp/a", "/tmp/copy", "cat", "/proc/self/mountinfo")
    said = bwrap(*HOST, *inner, *NESTING, "/proc/self/exe", *again).ok().out
    flags = {line.split()[4]: line.split()[5].split(",") for line in said.splitlines()}
    for path in ("/tmp/copy", "/tmp/copy/b", "/tmp/copy/b/c"):
        assert {"ro", "nosuid", "nodev"} <= set(flags[path]), path


@pytest.mark.parametrize("option", ["--bind-try", "--ro-bind-try", "--dev-bind-try"])
def test_try_ignores_a_source_that_is_not_there(bwrap, option):
    assert bwrap(*HOST, option, "/no/such/thing", "/tmp/x/y", "ls", "/tmp").ok().out == ""


@pytest.mark.parametrize("option", ["--bind-try", "--ro-bind-try", "--dev-bind-try"])
def test_try_does_not_ignore_other_errors(bwrap, tree, option):
    said = bwrap(*HOST, option, tree / "file" / "below", "/tmp/x", "true")
    said.fails(1, f"bwrap: Can't find source path {tree}/file/below: Not a directory")


@pytest.mark.parametrize("option", ["--bind", "--ro-bind", "--dev-bind", "--overlay-src"])
def test_source_that_is_not_there_is_an_error(bwrap, option):
    options = (option, "/no/such") + (("--tmp-overlay", "/tmp/x") if option == "--overlay-src" else ("/tmp/x",))
    said = bwrap(*HOST, *options, "true")
    said.fails(1, "bwrap: Can't find source path /no/such: No such file or directory\n")


def test_dev_bind_allows_devices_and_bind_does_not(bwrap):
    script = "echo hello > /tmp/null && echo written"
    assert bwrap.sh(script, "--dev-bind-try", "/dev/null", "/tmp/null").ok().out == "written"
    bwrap.sh(script, "--bind", "/dev/null", "/tmp/null").fails(2, "Permission denied")


@pytest.mark.parametrize("source", ["to_file", "sub/../file", "./file", "file"])
def test_source_is_a_path_of_the_caller(bwrap, tree, source):
    # Relative, and through links.
    assert bwrap(*HOST, "--bind", source, "/tmp/x", "cat", "/tmp/x", cwd=tree).ok().stdout == "content\n"


def test_sources_are_the_hosts_whatever_was_mounted_before(bwrap, tree):
    said = bwrap(*HOST, "--tmpfs", tree, "--bind", tree / "file", "/tmp/x", "cat", "/tmp/x")
    assert said.ok().stdout == "content\n"


def test_options_are_carried_out_in_their_order(bwrap, tree):
    assert bwrap.sh("ls /tmp/d", "--tmpfs", "/tmp/d", "--bind", tree / "sub", "/tmp/d/s").ok().out == "s"
    assert bwrap.sh("ls /tmp/d", "--bind", tree / "sub", "/tmp/d/s", "--tmpfs", "/tmp/d").ok().out == ""


@pytest.mark.parametrize("name", ["with space", "new\nline", "back\\slash", "com,ma:colon", "\udcff\udcfe", "#"])
def test_any_name_can_be_bound(bwrap, tree, name):
    (tree / name).write_text("odd\n")
    assert bwrap(*HOST, "--ro-bind", tree / name, f"/tmp/{name}", "cat", f"/tmp/{name}").ok().stdout == "odd\n"


def test_socket_is_bound_on_a_socket(bwrap, tree):
    path = tree / "s"
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(tree)  # the path of a socket is short
        bound.bind("s")
        said = bwrap(*HOST, "--bind", path, path, "--bind", path, "/tmp/other", "test", "-S", "/tmp/other")
        said.ok()


def test_mount_points_are_made_as_bubblewrap_makes_them(bwrap, tmp_path, tree):
    target = tmp_path / "target"
    target.mkdir()
    options = ("--bind", target, "/tmp", "--bind", tree / "sub", "/tmp/a/dir", "--bind", tree / "file", "/tmp/b/file")
    bwrap("--bind", "/", "/", *options, "true").ok()
    modes = {str(path.relative_to(target)): stat.S_IMODE(path.stat().st_mode) for path in target.rglob("*")}
    # The parents are 0700 there, by an oversight.
    assert modes.pop("a") in (0o755, 0o700) and modes.pop("b") in (0o755, 0o700)
    assert modes == {"a/dir": 0o755, "b/file": 0o444}
    assert (target / "b/file").read_bytes() == b""


def test_bind_of_a_directory_on_a_file_and_the_reverse_fail(bwrap, tree):
    assert bwrap(*HOST, "--bind", tree / "sub", "/tmp/x", "--bind", tree / "file", "/tmp/x", "true").returncode == 1
    assert bwrap(*HOST, "--bind", tree / "file", "/tmp/x", "--bind", tree / "sub", "/tmp/x", "true").returncode == 1


def test_two_thousand_binds(bwrap, tree):
    words = b"".join(b"--ro-bind\0%s\0/tmp/%d\0" % (os.fsencode(tree / "file"), number) for number in range(2000))
    assert bwrap.sh("cat /tmp/0 /tmp/1999", "--args", bwrap.data(words)).ok().stdout == "content\n" * 2


# --- binds by descriptor


@pytest.mark.parametrize("what,path", [("file", "/tmp/x"), ("sub", "/tmp/x/below")])
def test_ro_bind_fd(bwrap, tree, what, path):
    fd = bwrap.open(tree / what, os.O_PATH)
    said = bwrap.sh(f"cat {path}; echo more > {path}", "--ro-bind-fd", fd, "/tmp/x")
    assert said.stdout == (tree / "sub/below" if what == "sub" else tree / "file").read_text()
    said.fails(2, "Read-only file system")


def test_bind_fd_is_what_was_opened_wherever_it_is_now(bwrap, tree):
    fd = bwrap.open(tree / "sub", os.O_PATH)
    (tree / "sub").rename(tree / "moved")
    bwrap.sh("echo more >> /tmp/x/below", "--bind-fd", fd, "/tmp/x").ok()
    assert (tree / "moved/below").read_text() == "below\nmore\n"


def test_bind_fd_does_not_reach_the_command(bwrap, tree):
    fd = bwrap.open(tree / "sub", os.O_PATH)
    other = bwrap.open(tree / "file")
    said = bwrap.sh("ls /proc/self/fd", "--bind-fd", fd, "/tmp/x", pass_fds=[other]).ok()
    assert str(int(fd)) not in said.out.split() and str(int(other)) in said.out.split()


def test_bind_fd_that_is_closed(bwrap):
    bwrap(*HOST, "--bind-fd", "77", "/tmp/x", "true").fails(1, "bwrap: Can't find source path /proc/self/fd/77: ")


# --- data


@pytest.mark.parametrize("option,mode,writable", [("--file", 0o666, True), ("--bind-data", 0o600, True), ("--ro-bind-data", 0o600, False)])
def test_data_becomes_a_file(bwrap, option, mode, writable):
    script = "cat /tmp/d/x; stat -c %a /tmp/d/x; echo more 2>&- >/tmp/d/x && echo written"
    lines = bwrap.sh(script, option, bwrap.data(b"data\n"), "/tmp/d/x").out.splitlines()
    assert lines == ["data", f"{mode:o}"] + (["written"] if writable else [])


def test_data_of_a_mebibyte_from_a_pipe(bwrap):
    read, write = bwrap.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x" * 1_048_576)
        os._exit(0)
    bwrap.close(write)
    assert bwrap(*HOST, "--ro-bind-data", read, "/tmp/x", "stat", "-c", "%s", "/tmp/x").ok().out == "1048576"
    os.waitpid(pid, 0)


def test_file_truncates_what_is_there(bwrap, tree):
    bwrap(*HOST, "--file", bwrap.data(b"n"), tree / "file", "true").ok()
    assert (tree / "file").read_text() == "n"


def test_bind_data_leaves_what_is_there_alone(bwrap, tree):
    said = bwrap(*HOST, "--bind-data", bwrap.data(b"new\n"), tree / "file", "cat", tree / "file")
    assert said.ok().stdout == "new\n"
    assert (tree / "file").read_text() == "content\n"


# --- directories, links, modes


def test_dir_leaves_an_existing_one_alone(bwrap, tree):
    (tree / "sub").chmod(0o700)
    bwrap(*HOST, "--perms", "0755", "--dir", tree / "sub", "true").ok()
    assert stat.S_IMODE((tree / "sub").stat().st_mode) == 0o700


def test_dir_below_a_file_fails(bwrap, tree):
    bwrap(*HOST, "--dir", tree / "file" / "x", "true").fails(1, "Not a directory")


def test_symlink_is_made_with_its_parents(bwrap):
    assert bwrap(*HOST, "--symlink", "../some/where", "/tmp/a/b/link", "readlink", "/tmp/a/b/link").ok().out == "../some/where"


def test_symlink_over_a_file_fails(bwrap, tree):
    said = bwrap(*HOST, "--symlink", "x", tree / "file", "true")
    said.fails(1, f"bwrap: Can't make symlink at {tree}/file: destination exists and is not a symlink\n")


def test_chmod(bwrap):
    assert bwrap(*HOST, "--dir", "/tmp/d", "--chmod", "0710", "/tmp/d", "stat", "-c", "%a", "/tmp/d").ok().out == "710"
    said = bwrap(*HOST, "--chmod", "0710", "/tmp/nope", "true")
    said.fails(1, "/tmp/nope: No such file or directory\n")


# --- file systems


def test_remount_ro(bwrap):
    flags, kind = bwrap.mounts(*HOST, "--tmpfs", "/tmp/x", "--remount-ro", "/tmp/x")["/tmp/x"]
    assert kind == "tmpfs" and {"ro", "nosuid", "nodev"} <= flags


def test_remount_ro_is_of_one_mount(bwrap):
    found = bwrap.mounts(*HOST, "--tmpfs", "/tmp/x", "--tmpfs", "/tmp/x/y", "--remount-ro", "/tmp/x")
    assert "ro" in found["/tmp/x"][0] and "rw" in found["/tmp/x/y"][0]


def test_remount_ro_of_the_root_comes_after_its_mount_points(bwrap, root):
    said = bwrap("--bind", root, "/", "--tmpfs", "/new", "--remount-ro", "/", "sh", "-c", "echo > /new/x && echo > /x")
    said.fails(1, "Read-only file system")


def test_remount_ro_of_what_is_no_mount_fails(bwrap):
    assert bwrap(*HOST, "--dir", "/tmp/d", "--remount-ro", "/tmp/d", "true").returncode == 1


def test_tmpfs(bwrap):
    found = bwrap.mounts(*HOST, "--size", "65536", "--perms", "0700", "--tmpfs", "/tmp/x/y")
    flags, kind = found["/tmp/x/y"]
    assert kind == "tmpfs" and {"rw", "nosuid", "nodev"} <= flags


def test_mqueue(bwrap):
    found = bwrap.mounts(*HOST, "--unshare-ipc", "--mqueue", "/tmp/mq")
    assert found["/tmp/mq"][1] == "mqueue"


def test_proc_of_a_new_pid_namespace_shows_it_alone(bwrap):
    said = bwrap.sh("echo /proc/[0-9]*", "--unshare-pid", "--proc", "/proc").ok().out.split()
    assert len(said) <= 3  # the reaper, the shell


def test_proc_without_a_new_pid_namespace_is_the_hosts(bwrap):
    assert bwrap(*HOST, "--proc", "/proc", "test", "-d", f"/proc/{os.getpid()}").returncode == 0


# bubblewrap finds that root may not write to the directory /proc/sys, and takes it for read-only.
@pytest.mark.strata
@pytest.mark.parametrize("where", ["/proc", "/tmp/other"])
def test_proc_cannot_be_used_to_change_the_machine(bwrap, where):
    names = "sys/kernel/core_pattern sysrq-trigger irq/default_smp_affinity sys/vm/drop_caches".split()
    script = "".join(f"test ! -w {where}/{name} || echo {name}; " for name in names)
    assert bwrap.sh(script, "--unshare-pid", "--proc", where).ok().out == ""


DEV = {
    "null": "c", "zero": "c", "full": "c", "random": "c", "urandom": "c", "tty": "c",
    "stdin": "l", "stdout": "l", "stderr": "l", "fd": "l", "core": "l", "ptmx": "l",
    "shm": "d", "pts": "d",
}  # fmt: skip


def test_dev_is_this_and_nothing_else(bwrap):
    script = "cd /tmp/dev; for i in *; do echo $i $(stat -c %A $i | cut -c1); done"
    said = bwrap.sh(script, "--dev", "/tmp/dev").ok().out
    assert dict(line.split() for line in said.splitlines()) == DEV


def test_dev_works(bwrap):
    script = "echo x > /dev/null; head -c 3 /dev/zero | od -An -tx1; echo x 2>&- > /dev/full || echo full; readlink /dev/fd /dev/stdin"
    assert bwrap.sh(script, "--dev", "/dev").ok().out.splitlines() == [" 00 00 00", "full", "/proc/self/fd", "/proc/self/fd/0"]


def test_dev_gives_terminals(bwrap):
    code = "import os; a, b = os.openpty(); print(os.ttyname(b))"
    assert bwrap(*HOST, "--dev", "/dev", "/usr/bin/python3", "-c", code).ok().out == "/dev/pts/0"


def test_console_is_the_terminal_on_stdout(bwrap):
    ours, theirs = os.openpty()
    said = bwrap.start(*HOST, "--dev", "/dev", "stat", "-c", "%t:%T", "/dev/console", stdout=theirs)
    assert said.wait(timeout=300) == 0
    device = os.fstat(theirs).st_rdev
    assert os.read(ours, 100).decode().strip() == f"{os.major(device):x}:{os.minor(device):x}"
    os.close(ours), os.close(theirs)


# --- overlays


def test_overlay_keeps_what_is_written(bwrap, tmp_path, tree):
    for name in ("upper", "work"):
        (tmp_path / name).mkdir()
    overlay = ("--overlay-src", tree, "--overlay", tmp_path / "upper", tmp_path / "work", "/tmp/x")
    bwrap.sh("echo new > /tmp/x/new; rm /tmp/x/file; echo more >> /tmp/x/sub/below", *overlay).ok()
    assert (tmp_path / "upper/new").read_text() == "new\n"
    assert stat.S_ISCHR((tmp_path / "upper/file").lstat().st_mode)
    assert bwrap.sh("cat /tmp/x/sub/below; ls /tmp/x", *overlay).ok().out.splitlines() == [
        "below", "more", "new", "sub", "to_file", "to_sub",
    ]  # fmt: skip
    assert (tree / "sub/below").read_text() == "below\n"
    # What the kernel leaves there may be entered by nobody.
    (tmp_path / "work/work").chmod(0o700)


def test_overlay_may_be_the_root(bwrap, root, tree):
    options = ("--overlay-src", root, "--overlay-src", tree, "--tmp-overlay", "/")
    assert bwrap(*options, "sh", "-c", "echo x > /made && cat /file /made").ok().out.splitlines() == ["content", "x"]
    assert not (root / "made").exists() and not (tree / "made").exists()


def test_overlay_source_is_a_directory_of_the_caller(bwrap, tree):
    (tree / "other").mkdir()
    (tree / "other/file").write_text("content\n")
    options = ("--overlay-src", "to_sub", "--overlay-src", "other", "--ro-overlay", "/tmp/x")
    assert bwrap.sh("cat /tmp/x/below /tmp/x/file", *options, cwd=tree).ok().stdout == "below\ncontent\n"


def test_read_only_overlay_is_not_written_to(bwrap, tree):
    options = ("--overlay-src", tree / "sub", "--overlay-src", "/usr/share/misc", "--ro-overlay", "/tmp/x")
    bwrap.sh("echo > /tmp/x/new", *options).fails(2, "Read-only file system")


@pytest.mark.since("0.12.0")
def test_overlays_are_nosuid_and_nodev(bwrap, tree):
    flags, kind = bwrap.mounts(*HOST, "--overlay-src", tree, "--tmp-overlay", "/tmp/x")["/tmp/x"]
    assert kind == "overlay" and {"nosuid", "nodev"} <= flags


def test_overlay_that_cannot_be_mounted(bwrap, tree):
    said = bwrap(*HOST, "--overlay-src", tree / "file", "--tmp-overlay", "/tmp/x", "true")
    said.fails(1, "bwrap: Can't make overlay mount on ")


def test_overlay_directories_may_not_overlap(bwrap, tree):
    said = bwrap(*HOST, "--overlay-src", tree, "--overlay-src", tree / "sub", "--ro-overlay", "/tmp/x", "true")
    said.fails(1, "bwrap: Can't make overlay mount on ", "Overlay directories may not overlap\n")


@pytest.mark.strata
def test_five_hundred_overlay_sources(bwrap, tmp_path):
    # bubblewrap puts their paths into one page.
    options = []
    for number in range(500):
        source = tmp_path / f"layer-{number}-{'x' * 40}"
        source.mkdir()
        (source / f"file{number}").write_text(f"{number}\n")
        (source / "common").write_text(f"{number}\n")
        options += ["--overlay-src", source]
    said = bwrap.sh("cat /tmp/x/common /tmp/x/file0 /tmp/x/file499; ls /tmp/x | wc -l", *options, "--ro-overlay", "/tmp/x")
    assert said.ok().out.splitlines() == ["499", "0", "499", "501"]
