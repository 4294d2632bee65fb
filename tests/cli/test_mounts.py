"""--bind, --tmpfs, --read-only, --scratch: what is mounted where, and who may write to it."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from archives import Symlink
from leaks import remove_tree


@pytest.fixture
def host(tmp_path):
    """A directory of the host to bind: host/file and host/sub/deep."""
    host = tmp_path / "host"
    (host / "sub").mkdir(parents=True)
    (host / "file").write_text("from the host\n")
    (host / "sub/deep").write_text("deep\n")
    return host


# --- --bind --------------------------------------------------------------------------------------------


def test_bind_shows_a_directory(strata, base, host):
    done = strata.sh("cat /src/file /src/sub/deep", options=("--bind", f"{host}:/src")).ok()
    assert done.out == "from the host\ndeep"


def test_bind_shows_a_file(strata, base, host):
    assert strata.sh("cat /etc/f", options=("--bind", f"{host}/file:/etc/f")).ok().out == "from the host"


def test_bind_without_a_target_is_at_the_same_path(strata, base, host):
    assert strata.sh(f"cat {host}/file", options=("--bind", host)).ok().out == "from the host"


def test_a_relative_source_is_the_callers(strata, base, host):
    done = strata("run", "--bind", "host:/src", "base", "--", "cat", "/src/file", cwd=host.parent).ok()
    assert done.out == "from the host"


@pytest.mark.parametrize("mode", ["", ":rw"])
def test_a_bind_can_be_written_to(strata, base, host, mode):
    strata.sh("echo new > /src/new; echo changed > /src/file", options=("--bind", f"{host}:/src{mode}")).ok()
    assert (host / "new").read_text() == "new\n"
    assert (host / "file").read_text() == "changed\n"


def test_a_read_only_bind_cannot_be_written_to(strata, base, host):
    options = ("--bind", f"{host}:/src:ro", "--bind", f"{host}/file:/etc/f:ro")
    strata.sh("echo x > /src/new", options=options).fails(1, "ead-only")
    strata.sh("echo x > /etc/f", options=options).fails(1, "ead-only")
    strata.sh("chmod 777 /src/sub", options=options).fails(1, "ead-only")


def test_writes_to_a_copy_on_write_bind_stay_inside(strata, base, host):
    script = "echo new > /src/new; echo changed > /src/file; rm -r /src/sub; ls /src; cat /src/file"
    done = strata.sh(script, options=("--bind", f"{host}:/src:cow")).ok()
    assert done.out.split() == ["file", "new", "changed"]
    assert sorted(path.name for path in host.iterdir()) == ["file", "sub"]
    assert (host / "file").read_text() == "from the host\n"


def test_two_copy_on_write_binds_are_two(strata, base, host):
    options = ("--bind", f"{host}:/a:cow", "--bind", f"{host}:/b:cow")
    assert strata.sh("echo a > /a/file; cat /b/file", options=options).ok().out == "from the host"


def test_a_file_cannot_be_copy_on_write(strata, base, host):
    strata("run", "--bind", f"{host}/file:/f:cow", "base", "--", "true").fails(125, "not a directory")


@pytest.mark.parametrize("mode", ["RO", "rwx", "ro:cow", ""])
def test_an_unknown_mode_is_refused(strata, base, host, mode):
    strata("run", "--bind", f"{host}:/src:{mode}", "base", "--", "true").fails(125, "ro, rw or cow")


def test_a_missing_source_is_named(strata, base, host):
    strata("run", "--bind", f"{host}/nowhere:/src", "base", "--", "true").fails(125, f"{host}/nowhere", "No such file")


@pytest.mark.parametrize("target", ["src", "", "/", "/.", "/a/../.."])
def test_a_target_is_an_absolute_path_below_the_root(strata, base, host, target):
    strata("run", "--bind", f"{host}:{target}", "base", "--", "true").fails(125, "--bind")


def test_a_bind_hides_what_the_layers_have(strata, base, host):
    assert strata.sh("ls /usr", options=("--bind", f"{host}:/usr")).ok().out == "file\nsub"


def test_missing_parents_are_made(strata, base, host):
    script = "cat /a/b/c/file; stat -c '%a %u:%g' /a /a/b; touch /a/x"
    done = strata.sh(script, options=("--bind", f"{host}:/a/b/c")).ok()
    assert done.out.splitlines() == ["from the host", "755 0:0", "755 0:0"]


def test_a_mount_point_leaves_the_metadata_of_its_parents_alone(strata, base, layer, host):
    stat = "stat -c '%a %Y' /var/tmp /var"
    plain = strata.sh(stat).ok().out
    assert strata.sh(stat, options=("--bind", f"{host}:/var/tmp/src")).ok().out == plain


def test_a_bind_below_tmp_and_dev(strata, base, host):
    options = ("--bind", f"{host}:/tmp/a/b", "--bind", f"{host}/file:/tmp/f", "--bind", f"{host}/file:/dev/f")
    done = strata.sh("cat /tmp/a/b/file /tmp/f /dev/f", options=options).ok()
    assert done.out.splitlines() == ["from the host"] * 3


def test_a_bind_below_a_tmpfs(strata, base, host):
    options = ("--tmpfs", "/job", "--bind", f"{host}:/job/a/b")
    assert strata.sh("cat /job/a/b/file; touch /job/x", options=options).ok().out == "from the host"


def test_a_bind_below_a_bind(strata, base, host, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/x").write_text("inner\n")
    options = ("--bind", f"{host}:/src", "--bind", f"{tmp_path}/inner:/src/sub")
    assert strata.sh("cat /src/sub/x", options=options).ok().out == "inner"


def test_a_bind_below_a_bind_that_lacks_the_directory_is_an_error(strata, base, host):
    options = ("--bind", f"{host}:/src", "--bind", f"{host}:/src/nowhere")
    strata("run", *options, "base", "--", "true").fails(125, "/src/nowhere", "hint:")
    assert not (host / "nowhere").exists()


def test_a_target_behind_links_is_inside_the_root(strata, base, layer, host, tmp_path):
    layer("links", {"opt/real": None, "rel": Symlink("opt/real"), "abs": Symlink("/opt/real"),
                    "up": Symlink(f"../../../..{tmp_path}"), "dangling": Symlink("/made/here")})
    for target, shows in (("/rel/a", "/opt/real/a"), ("/abs/b", "/opt/real/b"), ("/dangling", "/made/here"),
                          ("/up/c", f"{tmp_path}/c")):
        done = strata("run", "--bind", f"{host}:{target}", "base", "links", "--", "cat", f"{shows}/file")
        assert done.ok().out == "from the host", target
    assert not (tmp_path / "c").exists()


def test_a_target_below_a_file_is_an_error(strata, base, host):
    strata("run", "--bind", f"{host}:/etc/passwd/x", "base", "--", "true").fails(
        125, "/etc/passwd", "not a directory")


def test_a_directory_on_a_file_is_an_error(strata, base, host):
    strata("run", "--bind", f"{host}:/etc/passwd", "base", "--", "true").fails(125, "/etc/passwd", "not a directory")
    strata("run", "--bind", f"{host}/file:/etc", "base", "--", "true").fails(125, "/etc", "a directory")


def test_a_bind_has_no_setuid_and_no_devices(strata, base, host):
    text = strata.sh("grep ' /src ' /proc/self/mountinfo", options=("--bind", f"{host}:/src")).ok().out
    assert "nosuid" in text and "nodev" in text


def test_mounts_below_the_source_come_with_it_read_only_too(strata, base):
    # /dev has mounts below it on any machine.
    options = ("--bind", "/dev:/hostdev:ro")
    text = strata.sh("grep ' /hostdev' /proc/self/mountinfo | sed 's/ - .*//'", options=options).ok().out
    assert len(text.splitlines()) > 1
    for line in text.splitlines():
        assert line.split()[5].split(",")[0] == "ro", line


# --- the store -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["rw", "ro", "cow"])
def test_a_bind_of_what_holds_the_store_hides_the_store(strata, base, store, mode):
    options = ("--bind", f"{store.parent}:/host:{mode}")
    script = f"ls -A /host/{store.name}; ls -d /host/home"
    assert strata.sh(script, options=options).ok().out == "/host/home"


@pytest.mark.parametrize("below", ["", "/layers"])
def test_a_bind_of_the_store_is_refused(strata, base, store, below):
    strata("run", "--bind", f"{store}{below}:/host", "base", "--", "true").fails(125, "store")


def test_a_bind_of_another_mount_of_what_holds_the_store_hides_it_too(strata, base, store, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = ["unshare", "-Urm", "sh", "-c", 'mount --bind "$1" "$2" && shift 2 && exec "$@"', "sh",
               str(store.parent), str(elsewhere)]  # fmt: skip

    def run(*args):
        whole = [*command, *strata.command("run", *args)]
        return subprocess.run(whole, capture_output=True, text=True, env=strata.environment(), cwd=strata.home)

    script = f"ls -A /host/{store.name}; ls -d /host/home"
    done = run("--bind", f"{elsewhere}:/host", "base", "--", "sh", "-c", script)
    assert done.stdout.split() == ["/host/home"], done.stderr
    done = run("--bind", f"{elsewhere}/{store.name}/layers:/host", "base", "--", "true")
    assert done.returncode == 125 and "store" in done.stderr


def test_a_link_to_the_store_is_refused_too(strata, base, store, tmp_path):
    (tmp_path / "innocent").symlink_to(store / "layers")
    strata("run", "--bind", f"{tmp_path}/innocent:/host", "base", "--", "true").fails(125, "store")


# --- --tmpfs -------------------------------------------------------------------------------------------


def test_tmpfs_is_an_empty_directory_in_memory(strata, base):
    done = strata.sh("ls -A /usr; stat -f -c %T /usr; echo x > /usr/x; cat /usr/x", options=("--tmpfs", "/usr"))
    assert done.ok().out.split() == ["tmpfs", "x"]


def test_tmpfs_has_the_size_that_was_asked_for(strata, base):
    options = ("--tmpfs", "/small:1M")
    strata.sh("head -c 900k /dev/zero > /small/a", options=options).ok()
    strata.sh("head -c 1100k /dev/zero > /small/a", options=options).fails(1, "I/O error")


@pytest.mark.parametrize("value", ["/x:0", "/x:big", "x", "/x:-1"])
def test_a_tmpfs_that_makes_no_sense_is_refused(strata, base, value):
    strata("run", "--tmpfs", value, "base", "--", "true").fails(125, "--tmpfs")


# --- --read-only ---------------------------------------------------------------------------------------


def test_a_read_only_root_cannot_be_written_to(strata, base):
    for script in ("echo x > /new", "rm /usr/share/greeting", "chmod 700 /usr"):
        strata.sh(script, options=("--read-only",)).fails(1, "ead-only")


def test_tmp_and_binds_of_a_read_only_root_can_be_written_to(strata, base, host):
    options = ("--read-only", "--bind", f"{host}:/src", "--tmpfs", "/scratch")
    strata.sh("echo x > /tmp/x; echo x > /src/x; echo x > /scratch/x; echo x > /dev/shm/x", options=options).ok()
    assert (host / "x").exists()


@pytest.mark.parametrize("others", [("--capture", "x"), ("--workspace", "w"), ("--scratch", "tmpfs")], ids=lambda o: o[0])
def test_read_only_and_what_needs_an_upper_do_not_go_together(strata, base, others):
    strata("run", "--read-only", *others, "base", "--", "true").fails(125, "--read-only", others[0])


# --- --scratch -----------------------------------------------------------------------------------------


def test_scratch_tmpfs_keeps_writes_in_memory(strata, base, store):
    done = strata.sh("echo x > /usr/x; cat /usr/x /usr/share/greeting; echo y > /usr/share/greeting",
                     options=("--scratch", "tmpfs")).ok()
    assert done.out.split() == ["x", "hello"]


def test_scratch_tmpfs_has_the_size_that_was_asked_for(strata, base):
    strata.sh("head -c 2000k /dev/zero > /big", options=("--scratch", "tmpfs:1M")).fails(1, "I/O error")
    strata.sh("head -c 500k /dev/zero > /big", options=("--scratch", "tmpfs:1M")).ok()


def test_scratch_in_a_directory_leaves_nothing_there(strata, base, tmp_path):
    (tmp_path / "scratch").mkdir()
    script = "echo x > /usr/x; cat /usr/x"
    assert strata.sh(script, options=("--scratch", tmp_path / "scratch")).ok().out == "x"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_scratch_in_a_missing_directory_is_named(strata, base, tmp_path):
    strata("run", "--scratch", tmp_path / "nowhere", "base", "--", "true").fails(125, str(tmp_path / "nowhere"))


def test_scratch_on_another_file_system(strata, base):
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("/dev/shm is not writable here")
    scratch = Path(tempfile.mkdtemp(prefix="strata-scratch-test-", dir="/dev/shm"))
    script = "echo x > /usr/x; mkdir /usr/d; mv /usr/x /usr/d/; cat /usr/d/x; rm /usr/share/greeting; ls /usr/share"
    try:
        assert strata.sh(script, options=("--scratch", scratch)).ok().out == "x"
        assert list(scratch.iterdir()) == []
    finally:
        remove_tree(scratch)


def test_files_can_be_renamed_and_linked_across_layers(strata, base, layer):
    layer("more", {"usr/share/sub/file": "f"})
    script = "mv /usr/share/greeting /usr/share/sub/; ls /usr/share/sub; ln /usr/share/sub/file /hard; cat /hard"
    assert strata("run", "base", "more", "--", "sh", "-c", script).ok().out.split() == ["file", "greeting", "f"]
