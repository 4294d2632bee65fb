"""strata stage and unstage: roots at a directory of the caller's own view of the file system."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import waiting
from calling import Result

ROOT = os.geteuid() == 0
# What there is to test depends on who tests; the suite runs as root and as an ordinary user. Reflinks
# have a file system of their own, below.
FUSE = ["fuse"] if ROOT or os.access("/dev/fuse", os.R_OK | os.W_OK) else []
WITH_COMMAND = ["auto", "overlay", "hardlink", "copy", *FUSE]
IN_PLACE = ["auto", "copy", *FUSE, *(["overlay", "hardlink"] if ROOT else [])]


@pytest.fixture
def layers(layer):
    layer("one", {"etc/file": "one\n", "etc/gone": "x\n", "bin/tool": "tool\n"})
    layer("two", {"etc/.wh.gone": "", "etc/two": "two\n"}, "--format", "oci")
    return ["one", "two"]


@pytest.fixture(params=WITH_COMMAND)
def method(request):
    return request.param


def content(store):
    """Everything in the layers of a store, with what a change would show."""
    found = {}
    for path in sorted((store / "layers").rglob("*")):
        st = path.lstat()
        data = path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else b""
        found[str(path)] = (st.st_mode, st.st_uid, st.st_mtime_ns, st.st_size, data, tuple(os.listxattr(path, follow_symlinks=False)))
    return found


# --- with a command ------------------------------------------------------------------------------------


def test_the_command_sees_the_root_and_what_it_writes_is_gone(strata, layers, method, tmp_path):
    at = tmp_path / "at"
    before = content(strata.store)
    script = f"cat {at}/etc/file {at}/etc/two; ls {at}/etc; echo new > {at}/etc/file; cat {at}/etc/file"
    done = strata("stage", "-m", method, *layers, at, "--", "sh", "-c", script)
    assert done.ok().out.split() == ["one", "two", "file", "two", "new"]
    assert not at.exists()
    assert content(strata.store) == before
    assert strata("list", "--json", "stages").json() == []


def test_the_command_is_the_caller(strata, layers, tmp_path):
    script = f"id -u; id -g; pwd; cat {tmp_path}/host; echo made > {tmp_path}/made"
    (tmp_path / "host").write_text("host\n")
    done = strata("stage", *layers, tmp_path / "at", "--", "sh", "-c", script, cwd=tmp_path)
    assert done.ok().out.split() == [str(os.geteuid()), str(os.getegid()), str(tmp_path), "host"]
    assert (tmp_path / "made").read_text() == "made\n"


def test_the_exit_status_is_that_of_run(strata, layers, tmp_path):
    for script, status in (("exit 42", 42), ("kill -TERM $$", 143)):
        assert strata("stage", *layers, tmp_path / "at", "--", "sh", "-c", script).returncode == status
    strata("stage", *layers, tmp_path / "at", "--", "no-such-command").fails(127, "no-such-command: command not found")
    strata("stage", *layers, tmp_path / "at", "--", "/etc/passwd").fails(126, "Permission denied")


def test_what_the_command_leaves_running_is_killed(strata, layers, tmp_path):
    script = f"cd {tmp_path}/at; setsid sleep 1000 > /dev/null 2>&1 & echo started"
    assert strata("stage", *layers, tmp_path / "at", "--", "sh", "-c", script).ok().out == "started"


@pytest.mark.leaves_files
def test_what_outlives_strata_and_its_guardian_keeps_its_layers(strata, layer, tmp_path):
    layer("one", {"etc/file": "one\n"})
    script = f"sleep 60 < /dev/null > /dev/null 2>&1 & echo new > {tmp_path}/at/new; echo $!; wait"
    running = strata.start("stage", "-m", "overlay", "one", tmp_path / "at", "--", "sh", "-c", script)
    pid = int(running.stdout.readline())
    try:
        running.send_signal(signal.SIGSTOP)  # or it would end all that the guardian leaves
        os.kill(waiting.descendants(running.pid)[0], signal.SIGKILL)
        running.kill()
        running.wait()
        strata("rm", "one").fails(1, "in use by a running stage")
        strata("gc", "--all").ok()
        for name, text in (("etc/file", "one\n"), ("new", "new\n")):
            assert Path(f"/proc/{pid}/root{tmp_path}/at/{name}").read_text() == text
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    strata("rm", "one").ok()


@pytest.mark.parametrize("method", ["auto", "overlay", "hardlink"])
def test_a_read_only_root_cannot_be_written_to(strata, layers, method, tmp_path):
    script = f"echo x > {tmp_path}/at/x || echo ro; cat {tmp_path}/at/etc/file"
    done = strata("stage", "-m", method, "--read-only", *layers, tmp_path / "at", "--", "sh", "-c", script)
    assert done.ok().out.split() == ["ro", "one"]


def test_integration_commands_have_run(strata, base, tmp_path):
    options = ("--integrate", "echo integrated > /etc/made")
    done = strata("stage", "-q", *options, "base", tmp_path / "at", "--", "cat", tmp_path / "at/etc/made")
    assert done.ok().out == "integrated"


def test_a_root_that_is_left_in_place_keeps_its_layers(strata, layers, tmp_path):
    strata("stage", "-m", IN_PLACE[-1], *layers, tmp_path / "at").ok()
    removed = strata("rm", "two")
    if IN_PLACE[-1] == "copy":  # it needs the layers no more
        removed.ok()
    else:
        removed.fails(1)
    assert (tmp_path / "at/etc/two").read_text() == "two\n"
    strata("unstage", tmp_path / "at").ok()


ATTACK = r"""
import ctypes, os, sys
at = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what):
    try:
        what()
    except OSError:
        pass
def opened(path, flags):
    fd = os.open(path, flags)
    os.write(fd, b"evil")
    os.close(fd)
def through_proc():
    fd = os.open(at + "/etc/file", os.O_RDONLY)
    opened(f"/proc/self/fd/{fd}", os.O_WRONLY)
def through_path_descriptor():
    fd = os.open(at + "/etc/file", os.O_PATH)
    os.chmod(f"/proc/self/fd/{fd}", 0o777)
    opened(f"/proc/self/fd/{fd}", os.O_RDWR)
def unnamed():
    fd = os.open(at + "/etc", os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"evil")
    os.link(f"/proc/self/fd/{fd}", at + "/etc/evil", follow_symlinks=True)
attempt(lambda: opened(at + "/etc/file", os.O_WRONLY | os.O_APPEND))
attempt(lambda: os.truncate(at + "/etc/file", 0))
attempt(lambda: os.chmod(at + "/etc/file", 0o777))
attempt(lambda: os.utime(at + "/etc/file", (1, 1)))
attempt(lambda: os.setxattr(at + "/etc/file", "user.evil", b"1"))
attempt(lambda: os.setxattr(at + "/etc", "user.overlay.opaque", b"y"))
attempt(through_proc)
attempt(through_path_descriptor)
attempt(unnamed)
attempt(lambda: os.link(at + "/bin/tool", at + "/bin/alias"))
attempt(lambda: opened(at + "/bin/alias", os.O_WRONLY))
attempt(lambda: os.rename(at + "/bin/tool", at + "/etc/two"))
attempt(lambda: os.unlink(at + "/etc/two"))
attempt(lambda: os.chmod(at, 0o777))
# The mount itself: remounting it writable, or taking it away.
for flags in (32, 32 | 4096):
    libc.mount(None, at.encode(), None, flags, None)
attempt(lambda: opened(at + "/etc/file", os.O_WRONLY))
libc.umount2(at.encode(), 2)
# The same with all rights, in namespaces of its own.
if os.fork() == 0:
    if libc.unshare(0x10000000 | 0x00020000) == 0:
        libc.mount(None, at.encode(), None, 32 | 4096, None)
        libc.umount2(at.encode(), 2)
        attempt(lambda: opened(at + "/etc/file", os.O_WRONLY))
    os._exit(0)
os.wait()
print("done", len(os.listdir(at)))
"""


@pytest.mark.parametrize("read_only", [(), ("--read-only",)], ids=["writable", "read-only"])
@pytest.mark.parametrize("method", ["overlay", "hardlink"])
def test_an_attack_through_the_directory_changes_no_layer(strata, layers, method, read_only, tmp_path):
    before = content(strata.store)
    command = ("stage", "-m", method, *read_only, *layers, tmp_path / "at", "--", sys.executable, "-c", ATTACK)
    assert strata(*command, tmp_path / "at").ok().out == "done 2"
    assert content(strata.store) == before


# --- left in place -------------------------------------------------------------------------------------


@pytest.fixture(params=IN_PLACE)
def in_place(request):
    return request.param


def test_a_root_left_in_place_stays_until_unstage(strata, layers, in_place, tmp_path):
    at = tmp_path / "at"
    before = content(strata.store)
    strata("stage", "-m", in_place, *layers, at).ok()
    assert sorted(os.listdir(at / "etc")) == ["file", "two"]
    (at / "etc/file").write_text("changed\n")
    (at / "new").mkdir()
    [stage] = strata("list", "--json", "stages").json()
    assert stage["directory"] == str(at)
    assert in_place in ("auto", stage["method"])
    assert str(at) in strata("list", "stages").ok().out
    strata("stage", *layers, at).fails(125, "a root is staged there already", "hint: strata unstage")
    strata("unstage", at).ok()
    assert not at.exists()
    assert content(strata.store) == before
    assert os.listdir(strata.store / "stages-at") == []
    strata("unstage", at).fails(1, "this store has staged nothing there")


def test_a_directory_that_was_there_stays(strata, layers, tmp_path):
    at = tmp_path / "at"
    at.mkdir()
    strata("stage", "-m", "copy", *layers, at).ok()
    strata("unstage", at).ok()
    assert os.listdir(at) == []
    strata("unstage", at).fails(1, "this store has staged nothing there")


def test_unstage_never_removes_what_stage_did_not_make(strata, layers, tmp_path):
    at = tmp_path / "at"
    strata("stage", "-m", "copy", *layers, at).ok()
    at.rename(tmp_path / "moved")
    at.mkdir()
    (at / "mine").write_text("mine")
    strata("unstage", at).fails(1, "this store has staged nothing there")
    assert (at / "mine").exists() and (tmp_path / "moved/etc/file").exists()
    assert os.listdir(strata.store / "stages-at") == []


def test_a_new_directory_is_not_taken_for_the_old_one(strata, layers, tmp_path):
    at = tmp_path / "at"
    strata("stage", "-m", "copy", *layers, at).ok()
    shutil.rmtree(at)
    at.mkdir()  # ext4 gives it the number that the other had
    (at / "mine").write_text("mine")
    strata("unstage", at).fails(1, "this store has staged nothing there")
    assert (at / "mine").read_text() == "mine"


def in_namespace(strata, script):
    """Runs a script where it may mount, with strata as "$STRATA"."""
    args = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", script]
    environment = {**strata.environment(), "STRATA": strata.command("list")[0], "PATH": os.environ["PATH"]}
    done = subprocess.run(args, env=environment, capture_output=True, text=True)
    return Result(done.args, done.returncode, done.stdout, done.stderr)


def test_unstage_never_goes_into_what_is_mounted_in_a_copy(strata, layers, tmp_path):
    at = tmp_path / "at"
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/keep").write_text("data")
    script = f"""
        "$STRATA" stage -m copy {" ".join(layers)} {at}
        mount --bind {tmp_path}/precious {at}/etc
        ! "$STRATA" unstage {at}
        test -f {at}/bin/tool
        umount {at}/etc
        "$STRATA" unstage {at}
    """
    done = in_namespace(strata, script).ok()
    assert f"something is mounted at {at}/etc" in done.stderr and f"hint: umount {at}/etc" in done.stderr
    assert (tmp_path / "precious/keep").read_text() == "data"
    assert not at.exists()


def test_a_root_that_something_is_mounted_over_is_still_staged(strata, layers, tmp_path):
    at = tmp_path / "at"
    script = f"""
        "$STRATA" stage -m overlay {" ".join(layers)} {at}
        echo mine > {at}/mine
        mount -t tmpfs none {at}
        "$STRATA" list stages
        "$STRATA" stage -m overlay {" ".join(layers)} {tmp_path}/other
        ! "$STRATA" unstage {at}
        umount {at}
        cat {at}/mine
        "$STRATA" unstage {tmp_path}/other
        "$STRATA" unstage {at}
    """
    done = in_namespace(strata, script).ok()
    assert str(at) in done.out and done.out.endswith("mine")
    assert "something else is mounted on the staged root" in done.stderr
    assert os.listdir(strata.store / "stages-at") == []


def test_a_hardlink_tree_is_not_left_to_who_could_write_through_it(strata, strata_binary, layers, tmp_path):
    # For root the right to mount is taken away by a filter.
    tool = Path(os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall")
    for options in ((), ("--read-only",)):
        args = strata.command("stage", "-m", "hardlink", *options, *layers, tmp_path / "at")
        done = subprocess.run([tool, "EPERM", "open_tree", *args], env=strata.environment(), capture_output=True, text=True)
        done = Result(done.args, done.returncode, done.stdout, done.stderr)
        done.fails(125, "without the right to mount", "hint: give a COMMAND")
    assert not (tmp_path / "at").exists()
    assert os.listdir(strata.store / "stages-at") == []


def test_a_directory_that_is_not_empty_or_in_the_store_is_refused(strata, layers, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    for command in ((), ("--", "true")):
        strata("stage", *layers, tmp_path / "full", *command).fails(125, "is not empty")
        strata("stage", *layers, strata.store / "at", *command).fails(125, "is in the store")
    assert not (strata.store / "at").exists()


@pytest.mark.parametrize("key", ["", "@v1"])
def test_a_copy_has_what_unmanaged_directories_hold(strata, layers, tmp_path, key):
    (tmp_path / "art/own").mkdir(parents=True)
    (tmp_path / "art/own/file").write_text("mine")
    (tmp_path / "art/own/link").symlink_to("file")
    at, art = tmp_path / "at", f"dir:{tmp_path}/art{key}"
    for command in ((), ("--", "cat", at / "own/link")):
        done = strata("stage", "-m", "copy", *layers, art, at, *command).ok()
        if command:
            assert done.stdout == "mine"
            continue
        # Its own: neither side sees what the other does later.
        (at / "own/file").write_text("changed")
        assert (tmp_path / "art/own/file").read_text() == "mine"
        assert os.stat(tmp_path / "art/own/file").st_nlink == 1 and (at / "etc/two").is_file()
        strata("gc", "--all", "-q").ok()
        strata("unstage", at).ok()
    assert not at.exists() and (tmp_path / "art/own/file").read_text() == "mine"
    strata("stage", "-m", "hardlink", *layers, art, at, "--", "true").fails(125, "hardlink", "is not linked")


def test_a_copy_cannot_be_read_only(strata, layers, tmp_path):
    strata("stage", "-m", "copy", "--read-only", *layers, tmp_path / "at").fails(125, "--read-only: a copy is your own")


# --- fallbacks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("command", [True, False], ids=["command", "in-place"])
def test_auto_copies_where_mounts_are_denied_and_fuse_is_missing(strata, strata_binary, layers, answer, command, tmp_path):
    tool = Path(os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall")
    at = tmp_path / "at"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/cat").symlink_to("/bin/cat")
    args = ("stage", *layers, at, *(("--", "cat", at / "etc/two") if command else ()))
    done = subprocess.run(
        [tool, answer, "fsopen,move_mount,mount,open_tree", *strata.command(*args)],
        env=strata.environment({"PATH": str(tmp_path / "bin")}), capture_output=True, text=True,
    )
    done = Result(done.args, done.returncode, done.stdout, done.stderr)
    if command:
        assert done.ok().out == "two"
    else:
        done.ok()
        [stage] = strata("list", "--json", "stages").json()
        assert stage["method"] in ("copy", "reflink")
        strata("unstage", at).ok()
    assert not at.exists()


def test_a_method_that_does_not_work_says_why(strata, layers, tmp_path):
    done = strata("stage", "-m", "fuse", *layers, tmp_path / "at", env={"PATH": "/nonexistent"})
    done.fails(125, "fuse-overlayfs: No such file")
    assert not (tmp_path / "at").exists()


if ROOT:  # who may mount it

    def test_reflinks_share_the_blocks(strata, tmp_path):
        image, mount = tmp_path / "xfs", tmp_path / "mnt"
        with open(image, "wb") as file:
            file.truncate(400 << 20)
        subprocess.run(["mkfs.xfs", "-q", image], check=True)
        mount.mkdir()
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        try:
            env = {"STRATA_STORE": mount / "store"}
            (tmp_path / "tree").mkdir()
            (tmp_path / "tree/big").write_bytes(os.urandom(8 << 20))
            strata("import", "--name", "big", tmp_path / "tree", env=env).ok()
            os.sync()
            before = os.statvfs(mount).f_bfree
            strata("stage", "-m", "reflink", "big", mount / "at", env=env).ok()
            os.sync()
            assert (mount / "at/big").read_bytes() == (tmp_path / "tree/big").read_bytes()
            assert (before - os.statvfs(mount).f_bfree) * os.statvfs(mount).f_frsize < 4 << 20
            strata("unstage", mount / "at", env=env).ok()
        finally:
            subprocess.run(["umount", mount], check=True)


def test_unstage_of_what_is_not_there_says_so(strata, base, tmp_path):
    strata("unstage", tmp_path / "gone").fails(1, "gone: this store has staged nothing there")


# --- killed --------------------------------------------------------------------------------------------

RUN_ON = "setsid sh -c 'trap \"\" TERM HUP INT; sleep 1000' & (sleep 1000 &); trap '' TERM HUP; echo up; sleep 1000"


@pytest.mark.leaves_files
@pytest.mark.parametrize("who", ["strata", "its guardian", "the command"])
def test_nothing_runs_on_when_one_of_them_is_killed(strata, layers, tmp_path, who):
    (tmp_path / "root").mkdir()
    process = strata.start("stage", *layers, tmp_path / "root", "--", "sh", "-c", RUN_ON)
    waiting.read_until(process, b"up")
    below = waiting.until(lambda: waiting.at_least(5, waiting.descendants(process.pid)))
    os.kill({"strata": process.pid, "its guardian": below[0], "the command": below[1]}[who], signal.SIGKILL)
    assert waiting.finish(process)[0] == (-9 if who == "strata" else 137)
    waiting.until(lambda: all(map(waiting.gone, below)), "everything to die")
    strata("rm", "-f", "one").ok()  # no lease is left


@pytest.mark.leaves_files
def test_strata_can_be_killed_at_any_instant(strata, layers, tmp_path):
    (tmp_path / "root").mkdir()
    for number in range(30):
        process = strata.start("stage", *layers, tmp_path / "root", "--", "sh", "-c", "setsid sleep 1000 & exec sleep 1000")
        time.sleep(number / 1500)
        below = waiting.descendants(process.pid)
        process.kill()
        process.communicate()
        waiting.until(lambda: all(map(waiting.gone, below)) and not waiting.running(waiting.descendants(os.getpid())), "everything to die")
