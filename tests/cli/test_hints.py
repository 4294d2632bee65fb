"""Where a machine or a container denies what a sandbox needs: the step, the call and its errno, and what to do.

AppArmor, older Debian kernels and containers are not at hand, so their symptoms and the files that tell of
them are simulated: calls denied by seccomp, and a /proc made for the purpose.
"""

import os
import subprocess
from pathlib import Path

import pytest
from calling import Result


@pytest.fixture
def deny_tool(strata_binary):
    return Path(os.environ.get("STRATA_DENY") or strata_binary.parents[1] / "tests/deny_syscall")


def in_namespaces(strata, script, *args):
    """Runs `script`, whose "$@" is strata with `args`, as uid 0 of new user and mount namespaces."""
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc", script, "sh", *strata.command(*args)],
        env=strata.environment(), cwd=strata.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
    )
    return Result(done.args, done.returncode, done.stdout, done.stderr)


def sysctls(*settings):
    """A script that puts these below /proc/sys/kernel, in place of what this machine has there."""
    lines = ["boot=$(cat /proc/sys/kernel/random/boot_id)", "mount -t tmpfs tmpfs /proc/sys/kernel",
             "mkdir /proc/sys/kernel/random", "echo $boot > /proc/sys/kernel/random/boot_id"]
    lines += [f"echo {value} > /proc/sys/kernel/{name}" for name, value in settings]
    return "\n".join(lines) + "\n"


# A /proc in which a process can open its id maps no more than AppArmor lets it.
CLOSED_MAPS = """
mount -t tmpfs tmpfs /mnt
mkdir -p /mnt/self /mnt/sys/kernel/random
cat /proc/sys/kernel/random/boot_id > /mnt/sys/kernel/random/boot_id
cat /proc/self/mountinfo > /mnt/self/mountinfo
touch /mnt/self/setgroups && chmod 0444 /mnt/self/setgroups
echo 1 > /mnt/sys/kernel/apparmor_restrict_unprivileged_userns
mount --move /mnt /proc 2> /dev/null || test -e /proc/self/setgroups  # it looks for itself in there
"""
APPARMOR = "hint: AppArmor restricts user namespaces to programs with a profile: install the one that comes with strata, share/strata/apparmor.d/strata, to /etc/apparmor.d"


def test_apparmor_that_denies_the_id_map(strata, base):
    done = in_namespaces(strata, CLOSED_MAPS + 'exec "$@"', "run", "base", "--", "true")
    done.fails(125, "strata: set up sandbox: ids: open /proc/self/setgroups: Permission denied\n", APPARMOR)


def test_apparmor_that_denies_the_first_mount(strata, base, deny_tool):
    script = sysctls(("apparmor_restrict_unprivileged_userns", 1)) + f'exec {deny_tool} EPERM mount,fsopen,open_tree "$@"'
    done = in_namespaces(strata, script, "run", "base", "--", "true")
    done.fails(125, "strata: set up sandbox: overlay: mount", "Operation not permitted\n", APPARMOR)


def test_doctor_names_the_apparmor_profile(strata, deny_tool):
    script = sysctls(("apparmor_restrict_unprivileged_userns", 1)) + f'exec {deny_tool} EPERM mount,fsopen,open_tree "$@"'
    done = in_namespaces(strata, script, "doctor").fails(1)
    assert "fix: AppArmor restricts user namespaces" in done.stdout
    assert "share/strata/apparmor.d/strata" in done.stdout


def test_user_namespaces_that_debian_keeps_for_root(strata, base, deny_tool):
    script = sysctls(("unprivileged_userns_clone", 0)) + f'exec {deny_tool} EPERM clone3,clone "$@"'
    done = in_namespaces(strata, script, "run", "base", "--", "true")
    done.fails(125, "strata: start sandbox: clone with new namespaces: Operation not permitted\n",
               "hint: user namespaces are off for ordinary users: sysctl kernel.unprivileged_userns_clone=1")


@pytest.mark.parametrize("kind", ["net", "uts", "cgroup"])
def test_another_kind_of_namespace_that_is_off(strata, base, kind):
    done = in_namespaces(strata, f'echo 0 > /proc/sys/user/max_{kind}_namespaces; exec "$@"', "run", "base", "--", "true")
    done.fails(125, "No space left on device", f"hint: {kind} namespaces are off: sysctl user.max_{kind}_namespaces=15000")


def test_a_proc_that_is_masked_as_in_a_container(strata, base):
    done = in_namespaces(strata, 'mount -t tmpfs -o ro tmpfs /proc/bus; exec "$@"', "run", "base", "--", "true")
    done.fails(125, "strata: set up sandbox: proc: mount proc on /proc: Operation not permitted\n",
               "hint: in a container whose /proc is masked", "systempaths=unconfined", "unmask=ALL", "procMount: Unmasked")


def test_no_proc_at_all(strata, base):
    done = in_namespaces(strata, 'mount -t tmpfs tmpfs /proc; exec "$@"', "run", "base", "--", "true")
    done.fails(125, "/proc/", "No such file or directory\n", "hint: there is no /proc here: mount -t proc proc /proc")


@pytest.mark.parametrize("device", ["tty", "full"])
def test_a_dev_that_lacks_a_device(strata, base, device):
    script = """
    mount -t tmpfs tmpfs /mnt
    for name in null zero full random urandom tty; do touch "/mnt/$name"; mount --bind "/dev/$name" "/mnt/$name"; done
    umount "/mnt/%s" && rm "/mnt/%s"
    mount --move /mnt /dev 2> /dev/null || test -e /dev/null
    exec "$@"
    """ % (device, device)
    done = in_namespaces(strata, script, "run", "base", "--", "true")
    done.fails(125, f"strata: set up sandbox: dev: ", f"/dev/{device}: No such file or directory\n",
               f"hint: this machine or container has no /dev/{device}")


@pytest.mark.parametrize("names, step, call", [
    ("pivot_root", "pivot", "pivot_root"),
    ("unshare", "network", "unshare"),
    ("setns", "network", "setns"),
    ("sethostname", "network", "sethostname"),
    ("capset", "privileges", "capset"),
])
@pytest.mark.parametrize("answer, reason", [("EPERM", "Operation not permitted"), ("ENOSYS", "Function not implemented")])
def test_a_container_that_denies_what_has_no_other_way(strata, base, deny_tool, names, step, call, answer, reason):
    done = in_namespaces(strata, f'exec {deny_tool} {answer} {names} "$@"', "run", "base", "--", "true")
    done.fails(125, f"strata: set up sandbox: {step}: {call}", f": {reason}\n", "hint: a container's filter of system calls", "strata doctor")


def test_a_failed_set_up_leaves_nothing(strata, base, store):
    """The stage of a run that never ran is gone, and so is everything that had started."""
    in_namespaces(strata, 'mount -t tmpfs tmpfs /proc/bus; exec "$@"', "run", "base", "--", "true").fails(125)
    strata("run", "base", "--", "true").ok()
