"""System calls by which a build might leave its sandbox, or do harm beyond it (tests/attacks/kernel.c)."""

import ctypes
import os
import socket

import pytest
from attacks import X86, attack, attack_binary  # noqa: F401

NEW_NAMESPACES = {
    "user": "10000000", "mnt": "20000", "pid": "20000000", "net": "40000000", "ipc": "8000000", "uts": "4000000",
    "cgroup": "2000000",
}
TIME_NAMESPACE = "80"

NAMESPACES = (
    *(f"{call}={flag}" for call in ("unshare", "clone") for flag in NEW_NAMESPACES.values()),
    f"unshare={TIME_NAMESPACE}",
    *(f"setns={name}" for name in NEW_NAMESPACES),
    "user_namespace_parent",
)
MOUNTS = (
    "mount_tmpfs", "mount_proc", "mount_bind", "mount_move", "mount_shared", "pivot_root",
    *(f"{call}={path}" for call in ("remount", "umount", "umount_unfollowed") for path in ("/", "/proc", "/dev", "/tmp")),
)
NEW_MOUNT_API = (
    "open_tree", "open_tree_attr", "move_mount", "fsopen=tmpfs", "fspick=/", "fsmount", "fsconfig", "mount_setattr=/proc",
)
MACHINE = (
    "reboot", "kexec", "module", "finit_module", "swap", "acct", "quota", "quota_fd", "clock", "adjtime", "hostname",
    "domainname", "kernel_log", *(("iopl",) if X86 else ()),
)
KERNEL = ("add_key", "request_key=x", "session_key=x", "bpf", "perf", "userfaultfd", "open_by_handle=/")


def stopped(answer, *names):
    return {name: answer for name in names}


def test_no_namespace_can_be_made_or_entered(attack):
    assert attack(*NAMESPACES) == stopped("EPERM", *NAMESPACES)


def test_clone3_is_missing_so_that_libc_falls_back_to_what_can_be_filtered(attack):
    names = ("clone3", *(f"clone3={flag}" for flag in NEW_NAMESPACES.values()))
    assert attack(*names) == stopped("ENOSYS", *names)


def test_nothing_can_be_mounted_or_unmounted(attack):
    assert attack(*MOUNTS) == stopped("EPERM", *MOUNTS)


def test_the_new_mount_interface_is_missing(attack):
    assert attack(*NEW_MOUNT_API) == stopped("ENOSYS", *NEW_MOUNT_API)


def test_a_second_chroot_does_not_lead_out_of_the_first(attack, tmp_path):
    (tmp_path / "secret").write_text("x")
    assert attack(f"chroot_out={tmp_path}/secret", "chroot_out=/bin/attack") == {
        f"chroot_out={tmp_path}/secret": "ENOENT", "chroot_out=/bin/attack": "WORKED",
    }


def test_the_kernels_programs_keys_and_counters_are_out_of_reach(attack):
    assert attack(*KERNEL) == stopped("EPERM", *KERNEL)


def test_io_uring_is_missing(attack):
    assert attack("io_uring", "io_uring_enter") == stopped("ENOSYS", "io_uring", "io_uring_enter")


def test_the_machine_cannot_be_changed(attack):
    assert attack(*MACHINE) == stopped("EPERM", *MACHINE)


# --- sockets -------------------------------------------------------------------------------------------


def test_there_are_sockets_of_four_families_and_no_others(attack):
    # Also where the kernel, which takes an int, would not look at what a filter compares.
    names = ("socket_families", "socket_families_high", "socketpair", "vsock")
    assert attack(*names) == stopped("EAFNOSUPPORT", *names)


def test_raw_and_packet_sockets_need_a_capability(attack):
    names = ("raw_socket", "packet_socket")
    assert attack(*names) == stopped("EPERM", *names)


@pytest.mark.parametrize("network", ["none", "host"])
def test_the_network_cannot_be_configured(attack, network):
    assert attack("change_network", options=("--net", network)) == {"change_network": "EPERM"}


def test_the_audit_log_cannot_be_written(attack):
    assert attack("audit", options=("--net", "host"))["audit"] != "WORKED"


def test_abstract_sockets_of_the_host_are_not_there(attack):
    name = f"strata-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0" + name)
        listener.listen()
        assert attack(f"abstract_socket={name}") == {f"abstract_socket={name}": "ECONNREFUSED"}
        # They belong to the network, which this shares: documented.
        assert attack(f"abstract_socket={name}", options=("--net", "host")) == {f"abstract_socket={name}": "WORKED"}


def test_another_sandbox_cannot_be_reached_by_the_network(strata, base):
    listening = strata.start("run", "base", "--", "sh", "-c", "nc -l -p 4712 & echo up; wait")
    assert listening.stdout.readline() == b"up\n"
    try:
        refused = strata.sh("nc 127.0.0.1 4712 </dev/null")
        assert refused.returncode != 0 and "refused" in refused.stderr
    finally:
        listening.terminate()
        listening.communicate(timeout=300)


# --- terminals -----------------------------------------------------------------------------------------


def test_nothing_can_be_typed_into_a_terminal(attack):
    # The kernel takes 32 bits of the request, a filter sees 64.
    names = [f"{call}{high}" for call in ("tiocsti", "tioclinux") for high in ("", "=0", "=1", "=80000000", "=ffffffff")]
    assert attack(*names) == stopped("EPERM", *names)


def test_a_terminal_of_the_host_is_not_there(attack):
    assert attack("terminal_of_host", "open=/dev/pts/0", "open=/dev/console", "open=/dev/tty0") == {
        "terminal_of_host": "ENXIO", "open=/dev/pts/0": "ENOENT", "open=/dev/console": "ENOENT", "open=/dev/tty0": "ENOENT",
    }


# --- other tables of system calls ----------------------------------------------------------------------

I386 = {
    "i386_mount": "EPERM", "i386_umount": "EPERM", "i386_old_umount": "EPERM", "i386_unshare": "EPERM",
    "i386_clone": "EPERM", "i386_clone3": "ENOSYS", "i386_setns": "EPERM", "i386_pivot_root": "EPERM",
    "i386_open_tree": "ENOSYS", "i386_open_tree_attr": "ENOSYS", "i386_fsopen": "ENOSYS", "i386_keyctl": "EPERM",
    "i386_bpf": "EPERM", "i386_io_uring": "ENOSYS", "i386_open_by_handle": "EPERM", "i386_vsock": "EAFNOSUPPORT",
    "i386_socketcall": "ENOSYS", "i386_tiocsti": "EPERM",
}

if X86:

    def test_the_i386_calls_are_filtered_too(attack):
        found = attack("i386", *I386)
        # A kernel without IA32 emulation kills whoever tries.
        works = found.pop("i386") == "WORKED"
        assert found == (I386 if works else stopped("SIGSEGV", *I386))

    def test_there_are_no_x32_calls(attack):
        names = ("x32", "x32_unshare", "x32_vsock", "x32_open_tree_attr")
        assert attack(*names) == stopped("ENOSYS", *names)


# --- options that weaken -------------------------------------------------------------------------------


def worked(found):
    return {name for name, answer in found.items() if answer.split()[0] == "WORKED"}


def test_without_a_filter_capabilities_and_limits_still_hold(attack):
    sockets = ("change_network", "raw_socket", "packet_socket")
    names = (*NAMESPACES, *MOUNTS, *MACHINE, *sockets, "open_by_handle=/", "clone3=10000000", "clone3=20000")
    # Quotas are written out for anybody who asks.
    assert worked(attack(*names, options=("--seccomp", "none"))) <= {"quota"}
    # And this is how it is known that the filter is what stops these.
    found = attack("add_key", "socketpair", "clone3", options=("--seccomp", "none"))
    assert found["add_key"] == found["clone3"] == "WORKED" and found["socketpair"] != "EAFNOSUPPORT"


def test_the_keys_of_the_callers_session_stay_outside(attack):
    libc = ctypes.CDLL(None, use_errno=True)
    add_key, keyctl = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]

    def log_in():
        assert libc.syscall(keyctl, 1, None) > 0  # KEYCTL_JOIN_SESSION_KEYRING
        assert libc.syscall(add_key, b"user", b"strata-test", b"secret", 6, -3) > 0

    name = "session_key=strata-test"
    assert attack.outside(name, preexec_fn=log_in) == {name: "WORKED secret"}
    assert attack(name, preexec_fn=log_in) == {name: "EPERM"}
    assert attack(name, options=("--seccomp", "none"), preexec_fn=log_in) == {name: "ENOKEY"}


def test_all_capabilities_are_not_those_of_the_host(attack):
    found = attack(*MACHINE, *MOUNTS, *NAMESPACES, *KERNEL, "change_network", options=("--cap-add", "ALL"))
    # Its own namespaces' it may change: the names are filtered by nothing.
    assert worked(found) <= {"hostname", "domainname", "change_network"}
    host = attack("change_network", options=("--cap-add", "ALL", "--net", "host"))
    assert host == {"change_network": "EPERM"}


def test_nested_user_namespaces_open_nothing_else(attack):
    names = (*KERNEL, *MACHINE, "io_uring", "clone3", "vsock", "tiocsti", "tiocsti=1", "umount=/proc", "umount=/tmp")
    found = attack(*names, options=("--nested-userns",))
    assert worked(found) == set()
