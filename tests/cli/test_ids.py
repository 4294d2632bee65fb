"""--uid, --gid, --chown, --seccomp, --cap-add, --cap-drop, --nested-userns: who the command is and what it may do."""

import errno
import os
import struct
import subprocess

import pytest

CAP_CHOWN, CAP_NET_RAW, CAP_SYS_PTRACE = 0, 13, 19


def capabilities(strata, *options):
    text = strata("run", *options, "base", "--", "cat", "/proc/self/status").ok().stdout
    values = {line.split()[0]: int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")}
    assert values["CapEff:"] == values["CapPrm:"] == values["CapBnd:"]
    return values["CapEff:"]


def test_the_command_is_root(strata, base):
    assert strata.sh("id -u; id -g; stat -c %u:%g /usr").ok().out.split() == ["0", "0", "0:0"]


def test_uid_and_gid_are_what_was_asked_for(strata, base):
    done = strata.sh("id -u; id -g", options=("--uid", "1000", "--gid", "100")).ok()
    assert done.out.split() == ["1000", "100"]


def test_what_a_command_makes_belongs_to_the_caller_outside(strata, base, tmp_path):
    (tmp_path / "d").mkdir()
    bind = ("--bind", f"{tmp_path}/d:/d")
    strata.sh("echo > /d/root", options=bind).ok()
    strata.sh("echo > /d/user", options=(*bind, "--uid", "1000", "--gid", "100")).ok()
    for name in ("root", "user"):
        status = (tmp_path / "d" / name).stat()
        assert (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def test_another_uid_has_no_capability(strata, base):
    text = strata("run", "--uid", "1000", "base", "--", "cat", "/proc/self/status").ok().stdout
    assert "CapEff:\t0000000000000000" in text


@pytest.mark.parametrize("value", ["-1", "root", "4294967295", ""])
def test_an_id_is_a_number(strata, base, value):
    strata("run", "--uid", value, "base", "--", "true").fails(125, "--uid")
    strata("run", "--gid", value, "base", "--", "true").fails(125, "--gid")


def test_chown_to_another_owner_fails(strata, base):
    strata.sh("chown 7:7 /usr/share/greeting").fails(1, "nvalid argument")


def test_chown_ignore_answers_that_it_worked(strata, base):
    done = strata.sh("chown 7:7 /usr/share/greeting && stat -c %u /usr/share/greeting", options=("--chown", "ignore"))
    assert done.ok().out == "0"


def test_chown_ignore_needs_the_build_filter(strata, base):
    options = ("--chown", "ignore", "--seccomp", "none")
    strata("run", *options, "base", "--", "true").fails(125, "--chown ignore", "--seccomp")


# --- system calls --------------------------------------------------------------------------------------


def test_new_namespaces_are_denied(strata, base):
    strata.sh("unshare -U true").fails(1, "not permitted")


def test_mounting_is_denied(strata, base):
    strata.sh("mount -t tmpfs none /usr").fails(None, "permission denied")
    strata.sh("umount /tmp").fails(None, "not permitted")


def test_user_namespaces_are_off_without_a_filter_too(strata, base):
    strata.sh("unshare -U true", options=("--seccomp", "none")).fails(1, "unshare")
    assert strata.sh("cat /proc/sys/user/max_user_namespaces").ok().out == "0"


def test_nested_userns_allows_namespaces_and_mounts(strata, base):
    script = "unshare -Urm sh -c 'mount -t tmpfs none /opt && echo in > /opt/x && cat /opt/x'; ls /opt"
    done = strata.sh("mkdir /opt;" + script, options=("--nested-userns",)).ok()
    assert done.out == "in"


def test_nested_userns_does_not_uncover_what_is_mounted_over(strata, base, store):
    # A new namespace owns its copies of the mounts, but may not take ours away.
    options = ("--nested-userns", "--bind", f"{store.parent}:/host")
    script = f"unshare -Urm sh -c 'umount /host/{store.name}; umount -l /host/{store.name}; ls -A /host/{store.name}'"
    assert strata.sh(script, options=options).out == ""


def test_seccomp_none_is_no_filter(strata, base):
    assert "Seccomp:\t0" in strata("run", "--seccomp", "none", "base", "--", "cat", "/proc/self/status").ok().stdout


def deny_everywhere(name, answer):
    """A filter of four instructions: the system call `name` fails with errno `answer`."""
    number = int(subprocess.run(
        ["/usr/bin/python3", "-c", f"import ctypes; l = ctypes.CDLL('libseccomp.so.2'); "
         f"print(l.seccomp_syscall_resolve_name(b'{name}'))"],
        check=True, capture_output=True,
    ).stdout)
    load, jump_equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0), (jump_equal, 0, 1, number), (give, 0, 0, 0x00050000 | answer), (give, 0, 0, 0x7FFF0000)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def test_seccomp_takes_a_compiled_filter(strata, base, tmp_path):
    (tmp_path / "f").write_bytes(deny_everywhere("mkdir", errno.EBADMSG))
    done = strata("run", "--seccomp", tmp_path / "f", "base", "--", "mkdir", "/tmp/x")
    done.fails(1, os.strerror(errno.EBADMSG))
    strata("run", "base", "--", "mkdir", "/tmp/x").ok()


@pytest.mark.parametrize("content, why", [(b"", "empty"), (b"1234567", "whole number"), (bytes(8 * 4097), "longer")])
def test_a_filter_that_cannot_be_is_refused(strata, base, tmp_path, content, why):
    (tmp_path / "f").write_bytes(content)
    strata("run", "--seccomp", tmp_path / "f", "base", "--", "true").fails(125, str(tmp_path / "f"), why, "hint:")


def test_a_filter_that_the_kernel_refuses_is_an_error(strata, base, tmp_path):
    (tmp_path / "f").write_bytes(b"\xff" * 16)
    strata("run", "--seccomp", tmp_path / "f", "base", "--", "true").fails(125, "seccomp", "Invalid argument")


def test_a_missing_filter_file_is_named(strata, base, tmp_path):
    strata("run", "--seccomp", tmp_path / "nowhere", "base", "--", "true").fails(125, "nowhere")


# --- capabilities --------------------------------------------------------------------------------------


def test_cap_add_adds_one(strata, base):
    before = capabilities(strata)
    assert capabilities(strata, "--cap-add", "NET_RAW") == before | 1 << CAP_NET_RAW
    assert capabilities(strata, "--cap-add", "cap_sys_ptrace") == before | 1 << CAP_SYS_PTRACE


def test_cap_drop_takes_one(strata, base):
    assert capabilities(strata, "--cap-drop", "CAP_CHOWN") == capabilities(strata) & ~(1 << CAP_CHOWN)


def test_cap_drop_all_leaves_none(strata, base):
    assert capabilities(strata, "--cap-drop", "ALL") == 0


def test_capability_options_count_in_their_order(strata, base):
    assert capabilities(strata, "--cap-drop", "ALL", "--cap-add", "CHOWN") == 1 << CAP_CHOWN
    assert capabilities(strata, "--cap-add", "CHOWN", "--cap-drop", "ALL") == 0


def test_an_unknown_capability_is_refused(strata, base):
    strata("run", "--cap-add", "FLY", "base", "--", "true").fails(125, "--cap-add", "FLY")
