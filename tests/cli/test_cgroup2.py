"""Limits by cgroup v2, delegated and not, on a kernel of our own: user-mode Linux (Debian: user-mode-linux), which
boots in a second as any user. That kernel is Debian 12's, so this is also strata without lowerdir+, and without a
pid_max of its own for each pid namespace.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from archives import BUSYBOX

KERNEL = "/usr/bin/linux.uml"
HOG = "a=0123456789abcdef; while [ ${#a} -lt 400000000 ]; do a=$a$a; done; echo enough"
FORKS = "pids=; for i in 1 2 3 4 5 6 7 8 9; do sleep 1000 & pids=\"$pids $!\"; done; kill $pids; wait"

# What a systemd gives to a user, and what it does not.
GROUPS = """
c=/sys/fs/cgroup
echo "+memory +pids +cpu" > $c/cgroup.subtree_control
mkdir -p $c/user.slice/service/scope $c/user.slice/session $c/user.slice/tight
echo "+memory +pids +cpu" > $c/user.slice/cgroup.subtree_control
echo "+memory +pids" > $c/user.slice/service/cgroup.subtree_control
for d in $c/user.slice/service $c/user.slice/service/scope; do
  chown 65534 $d $d/cgroup.procs $d/cgroup.subtree_control
done
echo 300M > $c/user.slice/service/scope/memory.max
echo 100M > $c/user.slice/tight/memory.max
chmod a+r /dev/kmsg; echo 0 > /proc/sys/kernel/dmesg_restrict
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory, strata_binary, base_tar):
    """What a script did on such a machine: {name: (status, stdout, stderr, stats)}. It is booted once."""
    place = tmp_path_factory.mktemp("uml")
    if not os.access(KERNEL, os.X_OK):
        pytest.exit(f"{KERNEL} is missing: tools/setup installs it (user-mode-linux)", returncode=3)
    deny = os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall"
    module = next(Path("/usr/lib/uml/modules").glob("*/kernel/fs/overlayfs/overlay.ko"))
    disk = place / "disk"  # an upper needs attributes that neither hostfs nor this kernel's tmpfs has
    with open(disk, "wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-O", "^has_journal", disk], check=True)
    for name in ("out", "uml"):
        (place / name).mkdir()
    (place / "init").write_text(f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin STRATA_STORE=/run/mnt/store
mount -t proc proc /proc
mount -t tmpfs tmpfs /sys
mkdir -p /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
{BUSYBOX} insmod {module}
mount -t tmpfs tmpfs /run
mkdir /run/mnt
mount -t ext4 /dev/ubda /run/mnt
chmod 1777 /run/mnt
cp {strata_binary} /run/mnt/strata
cp {base_tar} /run/mnt/base.tar
chmod a+r /run/mnt/base.tar
. {place}/script > {place}/log 2>&1
{BUSYBOX} poweroff -f
""")
    (place / "init").chmod(0o755)
    cases = {
        "memory": (f"--memory 64M base -- sh -c '{HOG}'", None),
        "pids": (f"--pids 6 base -- sh -c '{FORKS}'", None),
        "enough pids": (f"--pids 10 base -- sh -c '{FORKS}'", None),
        "cpus": ("--cpus 0.2 base -- sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'", None),
        "all": ("--memory 64M --pids 9 --cpus 1 base -- cat /proc/self/cgroup", None),
        "no clone3": (f"--memory 64M base -- sh -c '{HOG}'", None),
        "delegated": (f"--memory 64M --cpus 1 base -- sh -c '{HOG}'", "user.slice/service/scope"),
        "delegated, limited": (f"--pids 9 base -- sh -c '{HOG}'", "user.slice/service/scope"),
        "delegated, too much": (f"--memory 400M base -- sh -c '{HOG}'", "user.slice/service/scope"),
        "not delegated": (f"--memory 64M --pids 6 --cpus 0.5 base -- sh -c '{FORKS}'", "user.slice/session"),
        "killed from outside": (f"base -- sh -c '{HOG}'", "user.slice/tight"),
    }
    script = [f"s=/run/mnt/strata", f"$s import -q --name base /run/mnt/base.tar"]
    for number, (name, (arguments, group)) in enumerate(cases.items()):
        out = place / "out" / str(number)
        strata = f"{deny} ENOSYS clone3 $s" if name == "no clone3" else "$s"
        run = f"{strata} run --stats /run/mnt/stats {arguments} > {out}.stdout 2> {out}.stderr; echo $? > {out}.status"
        if group is None:
            script.append(f"rm -f /run/mnt/stats; {run}; cat /run/mnt/stats > {out}.stats")
            continue
        user = place / "out" / f"{number}.sh"
        user.write_text(f"s=/run/mnt/strata; [ -d $STRATA_STORE ] || $s import -q --name base /run/mnt/base.tar\n"
                        f"$s run --stats /run/mnt/u/stats {arguments}\n")
        script.append(
            f"(echo 0 > $c/{group}/cgroup.procs; export STRATA_STORE=/run/mnt/u/store\n"
            f"setpriv --reuid 65534 --regid 65534 --clear-groups sh < {user} > {out}.stdout 2> {out}.stderr\n"
            f"echo $? > {out}.status); cat /run/mnt/u/stats > {out}.stats; rm -f /run/mnt/u/stats")
    script.insert(2, f"mkdir -m 0700 /run/mnt/u; chown 65534 /run/mnt/u")
    first_user = next(i for i, line in enumerate(script) if "setpriv" in line)
    script.insert(first_user, GROUPS)
    script.append(f"find /sys/fs/cgroup -name 'strata-*' > {place}/out/left")
    (place / "script").write_text("\n".join(script) + "\n")
    environment = {name: value for name, value in os.environ.items() if name != "TMPDIR"}  # /dev/shm is faster
    boot = subprocess.run(
        [KERNEL, "mem=768M", f"ubd0={disk}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", f"init={place}/init",
         "con=null", "con0=fd:0,fd:1", f"uml_dir={place}/uml"],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1000,
    )
    disk.unlink()
    told = boot.stdout.decode(errors="replace")[-2000:] + ((place / "log").read_text() if (place / "log").exists() else "")

    def read(name):
        out = place / "out" / str(list(cases).index(name))
        texts = [out.with_suffix(f".{part}").read_text() for part in ("status", "stdout", "stderr", "stats")]
        assert all(texts[i] for i in (0, 3)), f"{name}: {texts}\n{told}"
        return int(texts[0]), texts[1], texts[2], json.loads(texts[3])

    assert (place / "out/left").exists(), told
    read.left = (place / "out/left").read_text()
    return read


def test_a_command_that_uses_more_memory_is_killed_and_told_so(machine):
    status, out, error, stats = machine("memory")
    assert (status, out) == (137, "")
    assert error == "strata: killed: the command used more memory than its --memory of 64 MB (peak 64 MB)\n"
    assert stats["limits"]["memory"] == {"asked": 64 << 20, "means": "cgroup2"}
    assert stats["memory"] == {"peak_bytes": 64 << 20, "oom_kills": 1}


def test_without_clone3_the_sandbox_enters_its_group_by_itself(machine):
    status, _, error, stats = machine("no clone3")
    assert status == 137 and "more memory than its --memory" in error
    assert stats["limits"]["memory"]["means"] == "cgroup2"


def test_one_process_too_many_is_refused_and_told_so(machine):
    status, _, error, stats = machine("pids")
    assert status != 0 and "can't fork" in error and "warning: the limit of --pids 6 was reached 1 time\n" in error
    assert stats["limits"]["pids"]["means"] == "cgroup2" and stats["pids"]["refused"] == 1


def test_as_many_processes_as_asked_for_can_run(machine):
    assert machine("enough pids")[:3] == (0, "", "")


def test_processor_time_is_limited(machine):
    status, _, _, stats = machine("cpus")
    assert status == 0 and stats["limits"]["cpus"] == {"asked": 0.2, "means": "cgroup2"}
    used = stats["rusage"]["user_us"] + stats["rusage"]["system_us"]
    assert used <= 0.4 * stats["steps_us"]["run"] + 100_000, stats


def test_its_own_group_is_the_root_of_what_a_sandbox_sees(machine):
    assert machine("all")[:3] == (0, "0::/\n", "")


def test_a_user_to_whom_a_group_was_delegated_has_real_limits(machine):
    status, _, error, stats = machine("delegated")
    assert status == 137 and error.endswith("its --memory of 64 MB (peak 64 MB)\n")
    # cpu was not handed down yet.
    assert {stats["limits"][name]["means"] for name in ("memory", "cpus")} == {"cgroup2"}


def test_the_limits_of_the_callers_own_group_go_along(machine):
    # strata and what is beside it cannot be in one group with a group below, so the sandbox is beside it.
    status, out, _, stats = machine("delegated, limited")
    assert (status, out) == (137, "") and stats["limits"]["pids"]["means"] == "cgroup2"
    status, out, error, _ = machine("delegated, too much")
    assert (status, out) == (137, "") and "(peak 300 MB)" in error


def test_without_delegation_the_fallbacks_hold(machine):
    status, _, error, stats = machine("not delegated")
    assert status != 0 and "can't fork" in error
    assert {name: limit["means"] for name, limit in stats["limits"].items()} == {
        "memory": "rlimit", "pids": "rlimit", "cpus": "affinity"}


def test_a_command_that_the_host_killed_for_want_of_memory_is_told_so(machine):
    # There is no limit of strata's own; only the kernel's log knows.
    status, out, error, stats = machine("killed from outside")
    assert (status, out, stats["signal"]) == (137, "", 9)
    assert "strata: killed: the host ran out of memory, says its kernel log\nhint: --memory " in error


def test_no_group_is_left(machine):
    assert machine.left == ""
