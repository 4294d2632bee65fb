"""/proc, other processes, limits and devices (tests/attacks/process.c and file.c)."""

import os
import re
import subprocess
import time

import pytest
from archives import File
from attacks import attack, attack_binary, results  # noqa: F401

AS_ROOT = os.geteuid() == 0


# --- pid 1 ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [(), ("--seccomp", "none"), ("--seccomp", "none", "--cap-add", "ALL")])
def test_pid_1_cannot_be_entered(attack, options):
    names = ("ptrace", "ptrace_seize", "read_memory", "pidfd_getfd", "kcmp", "stop")
    assert attack(*names, options=options) == {name: "EPERM" for name in names}


@pytest.mark.parametrize("options", [(), ("--seccomp", "none", "--cap-add", "ALL")])
def test_nothing_of_pid_1_in_proc_is_a_door(attack, options):
    found = attack("proc_1", "proc_1_write", options=options)
    # SYS_NICE is good for how late its timers may be.
    harmless = "WORKED timerslack_ns" if "ALL" in options else None
    assert not [answer for answer in found.values() if answer.startswith("WORKED") and answer != harmless], found


def test_pid_1_does_not_tell_paths_of_the_host(strata, base, tmp_path):
    done = strata.sh("tr '\\0' ' ' < /proc/1/cmdline", options=("--bind", f"{tmp_path}:/host")).ok()
    assert done.out.split() == ["strata"]


def test_processes_of_the_host_cannot_be_named(strata, attack):
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        names = [f"{call}={sleeper.pid}" for call in ("kill", "ptrace", "read_memory", "pidfd_open", "kcmp")]
        assert attack.outside(f"pidfd_open={sleeper.pid}") == {f"pidfd_open={sleeper.pid}": "WORKED"}
        assert attack(*names, options=("--seccomp", "none")) == {name: "ESRCH" for name in names}
        # -1 is everybody that it may: in a pid namespace that is nobody else.
        strata("run", *attack.layers, "--", "attack", "kill=-1").fails(137)
        assert sleeper.poll() is None
    finally:
        sleeper.kill()
        sleeper.wait()


# --- what of /proc can be written and read ---------------------------------------------------------------

# Of the namespaces that the sandbox has for itself: ipc, pid and net.
OWN = re.compile(
    r"sys/(fs/mqueue/.*|kernel/(auto_msgmni|msg.*|ns_last_pid|pid_max|sem|sem_next_id|shm.*|shm_rmid_forced)|net/.*"
    r"|user/.*)$"
)
# Of root's three are /dev/null. Anybody may wait for a pressure.
HARMLESS = {"kcore", "keys", "timer_list"} if AS_ROOT else {"pressure/cpu", "pressure/io", "pressure/memory", "pressure/irq"}


@pytest.mark.parametrize("options", [(), ("--nested-userns",), ("--net", "host"), ("--seccomp", "none", "--cap-add", "ALL")])
def test_nothing_of_the_machine_in_proc_can_be_written(attack, options):
    found = attack("proc_write", options=options)["proc_write"].split()[1:]
    assert {name for name in found if not OWN.match(name)} - HARMLESS == set()
    if AS_ROOT or "host" in options:
        assert {name for name in found if name.startswith("sys/net/")} == set()


def test_limits_of_the_machine_cannot_be_raised(attack):
    names = ("raise_core", "processes=32768", "priority", "realtime", "oom_score", "write=/proc/sys/user/max_user_namespaces,9")
    found = attack(*names)
    assert not [answer for answer in found.values() if answer == "WORKED"], found
    # Also when pid_max, which is the namespace's own, was written to.
    assert found["processes=32768"].split()[0] == "EAGAIN"


# Of /proc/keys an ordinary user sees his own keys, if he has any.
@pytest.mark.parametrize("name", ["kcore", "kmsg", "timer_list"] + (["keys"] if AS_ROOT else []))
def test_secrets_of_the_machine_are_not_readable(attack, name):
    assert attack(f"proc_read={name}")[f"proc_read={name}"] in ("EACCES", "EPERM", "ENODATA", "ENOENT")


def test_addresses_of_the_kernel_are_not_readable(attack):
    assert attack("kallsyms")["kallsyms"] in ("EACCES", "EPERM", "ENOENT")


# --- devices and space -----------------------------------------------------------------------------------


def test_no_device_can_be_made(attack):
    names = [f"mknod={place}" for place in ("/", "/tmp", "/dev", "/dev/shm", "/b")]
    # A layer cannot bring one either: import refuses it.
    options = ("--bind", f"{os.environ.get('TMPDIR', '/var/tmp')}:/b", "--cap-add", "ALL", "--seccomp", "none")
    assert attack(*names, options=options) == {name: "EPERM" for name in names}


@pytest.mark.parametrize("name", ["mem", "kmem", "kvm", "fuse", "vsock", "console", "kmsg", "sda", "vda", "loop0", "mapper"])
def test_devices_of_the_machine_are_not_there(attack, name):
    assert attack(f"open=/dev/{name}") == {f"open=/dev/{name}": "ENOENT"}


def test_there_is_no_sysfs(attack):
    assert attack("open=/sys", "open=/sys/kernel") == {"open=/sys": "ENOENT", "open=/sys/kernel": "ENOENT"}


def test_dev_cannot_be_filled_with_more_than_a_little(attack):
    assert attack("fill=/dev,2000000") == {"fill=/dev,2000000": "ENOSPC"}
    assert attack("fill_files=/dev,1100") == {"fill_files=/dev,1100": "ENOSPC"}


def test_a_tmpfs_cannot_be_filled_with_more_files_than_its_size_allows(attack):
    found = attack("fill_files=/t,1100", "fill=/t,2000000", options=("--tmpfs", "/t:1M"))
    assert set(found.values()) == {"ENOSPC"}
    text = attack("open=/tmp", options=("--tmpfs", "/t:64M"))
    assert text == {"open=/tmp": "WORKED"}


def test_terminals_are_limited(attack):
    # The machine has some thousands for everybody.
    assert attack("terminals=16", "terminals=600") == {"terminals=16": "WORKED", "terminals=600": "ENOSPC"}


# --- setuid and capabilities of files ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6755])
def test_a_setuid_file_of_a_layer_gives_nothing(strata, attack, attack_binary, layer, mode):
    layer("setuid", {"bin/armed": File(attack_binary.read_bytes(), mode=mode)})
    done = strata("run", "--uid", "7", "--gid", "7", "base", "setuid", "--", "armed", "rights=7").ok()
    assert results(["rights=7"], done.stdout)["rights=7"] == "EPERM uid 7 euid 7 gid 7 egid 7 capabilities 0"


def test_a_setuid_file_that_a_command_makes_gives_nothing(strata, attack):
    script = "cp /bin/attack /tmp/armed; cp /bin/attack /armed; chmod 6755 /tmp/armed /armed; /armed rights=7; /tmp/armed rights=7"
    done = strata("run", "--uid", "7", "--gid", "7", *attack.layers, "--", "sh", "-c", script).ok()
    assert {line.split()[1] for line in done.stdout.splitlines()} == {"EPERM"}


def test_the_store_has_no_setuid_file(strata, attack, attack_binary, layer, store):
    layer("setuid", {"bin/armed": File(attack_binary.read_bytes(), mode=0o6755), "d": None})
    script = "chmod 6755 /bin/busybox /bin/armed; chmod 6777 /d; cp /bin/busybox /new; chmod 4711 /new"
    strata("run", "--capture", "made", "base", "setuid", "--", "sh", "-c", script).ok()
    strata("run", "--workspace", "w", "--cache", "c:/c", "base", "setuid", "made", "--", "sh", "-c", "cp /new /c/; chmod 4711 /c/new").ok()
    armed = [path for path in store.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]
    # What a cache and a workspace hold is the command's own; the store is shut to others.
    assert [path for path in armed if path.relative_to(store).parts[0] not in ("caches", "workspaces")] == []
    assert oct(store.stat().st_mode & 0o7777) == "0o700"


# --- what stays behind ---------------------------------------------------------------------------------------


def test_a_daemon_does_not_outlive_the_run(strata, base, tmp_path):
    # Twice forked, in a session of its own, deaf to signals, holding the output.
    script = "(setsid sh -c 'trap \"\" TERM HUP INT; while :; do echo x >>/b/alive; sleep 0.05; done' &) ; while ! test -s /b/alive; do sleep 0.05; done"
    strata.sh(script, options=("--bind", f"{tmp_path}:/b")).ok()
    size = (tmp_path / "alive").stat().st_size
    time.sleep(0.2)
    assert (tmp_path / "alive").stat().st_size == size
