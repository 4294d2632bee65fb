"""What strata does where a system call is missing: older kernels, and containers that deny them."""

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest
import waiting
from archives import Symlink
from calling import Result

# All that the new mount interface is made of.
MOUNT_API = "fsopen,fsconfig,fsmount,fspick,move_mount,open_tree,mount_setattr"


@pytest.fixture
def deny(strata, strata_binary):
    """deny("ENOSYS", "clone3,openat2", *args) runs `strata ARGS...` without these system calls."""
    tool = Path(os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall")
    assert os.access(tool, os.X_OK), f"{tool} is missing: build it, or set STRATA_DENY"

    def run(answer, names, *args, **kwargs):
        done = subprocess.run(
            [str(tool), answer, names, *strata.command(*args)], env=strata.environment(), cwd=strata.home,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, **kwargs,
        )
        return Result(done.args, done.returncode, done.stdout, done.stderr)

    run.tool = tool
    return run


@pytest.mark.parametrize("answer", ["ENOSYS", "EPERM"])
def test_the_tool_denies_what_it_is_told_to(deny, answer):
    script = "import ctypes; c = ctypes.CDLL(None, use_errno=True); c.syscall(39); print(ctypes.get_errno())"
    text = subprocess.check_output([deny.tool, answer, "getpid", "/usr/bin/python3", "-c", script], text=True)
    assert int(text) == getattr(errno, answer)


DENIED = {
    "clone3": "clone3",
    "openat2": "openat2",
    "fsopen": "fsopen",
    "fsconfig": "fsconfig",
    "open_tree": "open_tree",
    "mount_setattr": "mount_setattr",
    "new-mount-api": MOUNT_API,
    "close_range": "close_range",
    "pidfd_send_signal": "pidfd_open,pidfd_send_signal",
    "all": f"clone3,openat2,close_range,pidfd_open,pidfd_send_signal,{MOUNT_API}",
}


@pytest.fixture(params=["ENOSYS", "EPERM"])
def answer(request):
    return request.param


@pytest.fixture(params=DENIED.values(), ids=DENIED)
def names(request):
    return request.param


@pytest.fixture
def layers(base, layer):
    """Several layers, with a whiteout and something that a later one replaces."""
    layer("one", {"opt/one": "1", "opt/gone": "x"})
    layer("two", {"opt/two": "2", "opt/.wh.gone": "", "usr/share/greeting": "HELLO\n"}, "--format", "oci")
    return ["base", "one", "two"]


LOOK = "ls /opt; cat /usr/share/greeting; ls -d /proc/self /dev/null /tmp"


def test_a_writable_root_is_right(deny, layers, answer, names):
    done = deny(answer, names, "run", *layers, "--", "sh", "-c", f"{LOOK}; echo x > /usr/x; cat /usr/x")
    assert done.ok().out.split() == ["one", "two", "HELLO", "/dev/null", "/proc/self", "/tmp", "x"]
    assert deny(answer, names, "run", *layers, "--", "ls", "/usr").ok().out == "share"


def test_a_read_only_root_is_right(deny, layers, answer, names):
    done = deny(answer, names, "run", "--read-only", *layers, "--", "sh", "-c", f"{LOOK}; echo x > /usr/x || echo ro")
    assert done.ok().out.split() == ["one", "two", "HELLO", "/dev/null", "/proc/self", "/tmp", "ro"]


def test_the_scratch_on_a_tmpfs_is_right(deny, layers, answer, names):
    done = deny(answer, names, "run", "--scratch", "tmpfs", *layers, "--", "sh", "-c", "echo x > /usr/x; cat /usr/x")
    assert done.ok().out == "x"


def test_binds_are_right(deny, layers, answer, names, tmp_path):
    host = tmp_path / "host"
    host.mkdir()
    (host / "file").write_text("host\n")
    options = ("--bind", f"{host}:/a/rw", "--bind", f"{host}:/a/ro:ro", "--bind", f"{host}:/a/cow:cow",
               "--bind", f"{host}/file:/etc/file:ro", "--tmpfs", "/job", "--bind", f"{host}:/job/b")
    script = """
    cat /a/rw/file /a/ro/file /a/cow/file /etc/file /job/b/file
    echo x > /a/ro/x || echo ro
    echo x > /etc/file || echo ro
    echo x > /a/cow/cow
    echo x > /a/rw/rw
    """
    done = deny(answer, names, "run", *options, *layers, "--", "sh", "-c", script)
    assert done.ok().out.split() == ["host"] * 5 + ["ro", "ro"]
    assert sorted(path.name for path in host.iterdir()) == ["file", "rw"]
    assert (host / "file").read_text() == "host\n"


def test_a_read_only_bind_leaves_nothing_below_it_writable(deny, layers, answer, names):
    # /dev has mounts below it on any machine.
    script = "grep ' /hostdev' /proc/self/mountinfo | sed 's/ - .*//'"
    done = deny(answer, names, "run", "--bind", "/dev:/hostdev:ro", *layers, "--", "sh", "-c", script)
    if {"open_tree", "mount_setattr"} & set(names.split(",")):
        done.fails(125, "bind /dev", "Invalid argument")  # mount(2) makes one mount read-only, not a tree
    else:
        lines = done.ok().out.splitlines()
        assert len(lines) > 1
        assert [line for line in lines if line.split()[5].split(",")[0] != "ro"] == []


def test_a_bind_of_what_holds_the_store_hides_the_store(deny, layers, answer, names, store):
    done = deny(answer, names, "run", "--bind", f"{store.parent}:/host", *layers, "--", "ls", "-A", f"/host/{store.name}")
    assert done.ok().out == ""


def test_a_captured_layer_is_the_same(deny, strata, layers, answer, names):
    script = "echo new > /opt/new; rm /opt/one; mkdir /opt/d"
    strata("run", "--capture", "plain", "--mtime", "1", *layers, "--", "sh", "-c", script).ok()
    deny(answer, names, "run", "--capture", "denied", "--mtime", "1", *layers, "--", "sh", "-c", script).ok()
    assert strata("show", "--json", "plain").json()["id"] == strata("show", "--json", "denied").json()["id"]


def test_status_and_timeout_work_without_clone3(deny, base, answer):
    assert deny(answer, "clone3", "run", "base", "--", "sh", "-c", "exit 42").returncode == 42
    assert deny(answer, "clone3", "run", "--timeout", "0.3", "base", "--", "sleep", "1000").returncode == 124


@pytest.mark.parametrize("signal_name, status", [("TERM", 143), ("INT", 130)])
def test_signals_are_forwarded_without_pidfd_send_signal(strata, deny, base, answer, signal_name, status):
    process = subprocess.Popen(
        [deny.tool, answer, "pidfd_open,pidfd_send_signal", *strata.command("run", "base", "--", "sh", "-c", "echo up; exec sleep 1000")],
        env=strata.environment(), cwd=strata.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
    )
    waiting.read_until(process, b"up")
    process.send_signal(getattr(signal, f"SIG{signal_name}"))
    assert waiting.finish(process)[0] == status


def test_links_on_the_way_to_a_mount_point_never_lead_out_without_openat2(deny, strata, base, layer, answer, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "host").mkdir()
    layer("links", {"out": Symlink(f"../../../../../..{tmp_path}/victim")})
    done = deny(answer, "openat2", "run", "--bind", f"{tmp_path}/host:/out/x", "base", "links", "--", "true")
    # Links may be refused here, but not followed to the host.
    assert done.returncode in (0, 125)
    assert list((tmp_path / "victim").iterdir()) == []


# --- long paths ----------------------------------------------------------------------------------------


@pytest.fixture
def far(strata, base_tar, tmp_path):
    """A store whose path is longer than fsconfig takes, with two layers in it."""
    strata.store = tmp_path / ("a" * 150) / ("b" * 150) / "store"
    strata.env["STRATA_STORE"] = str(strata.store)
    strata("import", "--name", "base", base_tar).ok()
    return strata


@pytest.mark.parametrize("names", ["", MOUNT_API], ids=["new", "old"])
@pytest.mark.parametrize("options", [(), ("--read-only",), ("--workspace", "w")], ids=["writable", "read-only", "workspace"])
def test_a_store_with_a_long_path(far, deny, names, options):
    done = deny("ENOSYS", names or "bpf", "run", *options, "base", "--", "cat", "/usr/share/greeting")
    assert done.ok().out == "hello"


@pytest.mark.parametrize("names", ["", MOUNT_API], ids=["new", "old"])
def test_a_bind_and_a_scratch_with_long_paths(far, deny, tmp_path, names):
    place = tmp_path / ("c" * 150) / ("d" * 150)
    (place / "host").mkdir(parents=True)
    (place / "host/file").write_text("host\n")
    for mode in ("ro", "cow"):
        options = ("--scratch", place, "--bind", f"{place}/host:/src:{mode}")
        done = deny("ENOSYS", names or "bpf", "run", *options, "base", "--", "sh", "-c", "cat /src/file; echo > /x")
        assert done.ok().out == "host"


# --- no user namespaces --------------------------------------------------------------------------------


def test_user_namespaces_that_are_off_are_named_with_the_remedy(strata, base):
    # Off in a namespace of our own, as a sysctl turns them off for the machine.
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = subprocess.run(
        ["unshare", "-Ur", "sh", "-c", script, "sh", *strata.command("run", "base", "--", "true")],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    assert done.returncode == 125
    assert "start sandbox: clone" in done.stderr
    assert "hint: user namespaces are off: sysctl user.max_user_namespaces=" in done.stderr


def test_a_container_that_denies_clone_is_told_from_other_failures(deny, base):
    deny("EPERM", "clone3,clone", "run", "base", "--", "true").fails(125, "start sandbox", "hint:", "strata doctor")


def test_runs_inside_a_user_namespace(strata, base):
    done = subprocess.run(
        ["unshare", "-Ur", *strata.command("run", "base", "--", "cat", "/usr/share/greeting")],
        env=strata.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")


def test_runs_inside_a_sandbox_with_nested_userns(strata, base, strata_binary, base_tar):
    options = ("--nested-userns", "--bind", f"{strata_binary}:/strata:ro", "--bind", f"{base_tar}:/base.tar:ro")
    script = """
    export STRATA_STORE=/store
    /strata import -q --name b /base.tar && /strata run --scratch tmpfs b -- cat /usr/share/greeting
    """
    done = strata.sh(script, options=options)
    if os.geteuid() == 0:
        # The outer sandbox hides parts of the machine's /proc from root, so no new one can be mounted.
        done.fails(125, "mount proc", "hint:", "/proc is masked")
    else:
        assert done.ok().out.splitlines()[-1] == "hello"
