# SPDX-License-Identifier: Apache-2.0
"""Namespaces, ids and capabilities."""

import fcntl
import json
import os

import pytest
from bwrap_call import HOST, Fd
from waiting import until

NS_GET_PARENT = 0xB702  # ioctl_ns(2)


def namespace(bwrap, name, *options):
    return bwrap(*HOST, *options, "readlink", f"/proc/self/ns/{name}").ok().out


def ours(name):
    return os.readlink(f"/proc/self/ns/{name}")


@pytest.mark.parametrize("name", ["ipc", "uts", "cgroup", "net", "user"])
def test_unshare(bwrap, name):
    if name != "user" or os.geteuid() == 0:
        assert namespace(bwrap, name) == ours(name)
    assert namespace(bwrap, name, f"--unshare-{name}") != ours(name)


@pytest.mark.parametrize("name", ["cgroup", "user"])
def test_unshare_try(bwrap, name):
    assert namespace(bwrap, name, f"--unshare-{name}-try") != ours(name)


def test_unshare_pid(bwrap):
    # The one for children, since readlink itself is a child either way.
    assert namespace(bwrap, "pid") == ours("pid")
    assert namespace(bwrap, "pid", "--unshare-pid") != ours("pid")


def test_unshare_all(bwrap):
    names = ["ipc", "uts", "cgroup", "net", "user", "pid", "mnt"]
    paths = [f"/proc/self/ns/{name}" for name in names]
    said = bwrap(*HOST, "--unshare-all", "readlink", *paths).ok().out.splitlines()
    assert [name for name, value in zip(names, said) if value == ours(name)] == []


def test_share_net_takes_the_network_out_of_all(bwrap):
    assert namespace(bwrap, "net", "--unshare-all", "--share-net") == ours("net")
    assert namespace(bwrap, "ipc", "--unshare-all", "--share-net") != ours("ipc")
    # In their order, as all options.
    assert namespace(bwrap, "net", "--share-net", "--unshare-all") != ours("net")


def test_loopback_is_up(bwrap):
    code = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print('connected')"
    said = bwrap(*HOST, "--unshare-net", "/usr/bin/python3", "-c", code)
    assert said.ok().out == "connected"


def test_hostname(bwrap):
    assert bwrap(*HOST, "--unshare-uts", "--hostname", "buildstream", "uname", "-n").ok().out == "buildstream"
    assert os.uname().nodename != "buildstream"


# --- ids


@pytest.mark.parametrize("options", [(), ("--dev", "/dev"), ("--unshare-pid",), ("--disable-userns",)])
def test_uid_and_gid(bwrap, options):
    said = bwrap(*HOST, "--unshare-user", *options, "--uid", "123", "--gid", "456", "sh", "-c", "id -u; id -g")
    assert said.ok().out.splitlines() == ["123", "456"]


def test_ids_are_kept_without_an_option(bwrap):
    for options in ((), ("--unshare-user",), ("--unshare-user", "--dev", "/dev")):
        said = bwrap(*HOST, *options, "sh", "-c", "id -u; id -g").ok()
        assert said.out.splitlines() == [str(os.getuid()), str(os.getgid())]


def test_files_belong_to_the_id_in_the_sandbox(bwrap, tree):
    options = ("--unshare-user", "--uid", "123", "--bind", tree, "/tmp/x")
    assert bwrap.sh("touch /tmp/x/new; stat -c %u /tmp/x/new", *options).ok().out == "123"
    assert (tree / "new").stat().st_uid == os.getuid()


# --- capabilities


def effective(bwrap, *options):
    """The effective set, and the others of the command, which must be no larger."""
    said = bwrap(*HOST, *options, "grep", "-E", "^Cap|^NoNew", "/proc/self/status").ok().out
    found = dict(line.split() for line in said.splitlines())
    assert found.pop("NoNewPrivs:") == "1"
    return {name[3:-1]: int(value, 16) for name, value in found.items()}


CHOWN, KILL, SYS_CHROOT, SYS_ADMIN = 1 << 0, 1 << 5, 1 << 18, 1 << 21


@pytest.mark.parametrize(
    "options",
    [(), ("--unshare-user",), ("--unshare-user", "--unshare-pid"), ("--unshare-user", "--dev", "/dev"),
     ("--disable-userns", "--unshare-user")],
)  # fmt: skip
def test_root_keeps_its_capabilities_and_others_have_none(bwrap, options):
    with open("/proc/self/status", encoding="ascii") as status:
        mine = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    sets = effective(bwrap, *options)
    if os.geteuid() == 0:
        assert sets["Eff"] == mine
    else:
        assert set(sets.values()) == {0}


def test_other_uid_has_no_capabilities(bwrap):
    assert effective(bwrap, "--unshare-user", "--uid", "7")["Eff"] == 0
    if os.geteuid() != 0:
        assert effective(bwrap, "--unshare-user", "--uid", "0")["Eff"] == 0


@pytest.mark.parametrize("name", ["CAP_SYS_CHROOT", "cap_sys_chroot"])
def test_cap_add(bwrap, name):
    sets = effective(bwrap, "--unshare-user", "--cap-drop", "ALL", "--cap-add", name)
    assert sets == dict.fromkeys(("Inh", "Prm", "Eff", "Bnd", "Amb"), SYS_CHROOT)


def test_cap_options_count_in_their_order(bwrap):
    both = ("--cap-drop", "ALL", "--cap-add", "CAP_KILL", "--cap-add", "CAP_CHOWN")
    assert effective(bwrap, "--unshare-user", *both)["Eff"] == KILL | CHOWN
    assert effective(bwrap, "--unshare-user", *both, "--cap-drop", "CAP_KILL")["Eff"] == CHOWN
    assert effective(bwrap, "--unshare-user", *both, "--cap-drop", "ALL")["Eff"] == 0
    everything = effective(bwrap, "--unshare-user", "--cap-add", "ALL")["Eff"]
    assert everything & SYS_ADMIN and everything & KILL


# --- namespaces by descriptor


class Waiting:
    """A sandbox that waits until it is told to end."""

    def __init__(self, bwrap, *options):
        info, self.info = bwrap.pipe()
        self._stdin = os.pipe()
        self.process = bwrap.start(*HOST, *options, "--info-fd", self.info, "cat", stdin=self._stdin[0])
        bwrap.close(self.info)
        text = b""
        while part := os.read(info, 4096):
            text += part
        self.pid = json.loads(text)["child-pid"]
        # cat runs: all is set up.
        until(lambda: os.readlink(f"/proc/{self.pid}/root") is not None and self._runs(), "the command")

    def _runs(self):
        with open(f"/proc/{self.pid}/cmdline", "rb") as file:
            if file.read() == b"cat\0":
                return True
        with open(f"/proc/{self.pid}/task/{self.pid}/children", encoding="ascii") as file:
            return bool(file.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._stdin[0])
        os.close(self._stdin[1])
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, (out, err)


@pytest.mark.parametrize("status", [0, 7])
def test_userns_and_pidns_are_joined(bwrap, status):
    with Waiting(bwrap, "--unshare-user", "--unshare-pid") as other:
        user, pid = bwrap.open(f"/proc/{other.pid}/ns/user"), bwrap.open(f"/proc/{other.pid}/ns/pid")
        script = f"readlink /proc/self/ns/user; readlink /proc/self/ns/pid; exit {status}"
        said = bwrap.sh(script, "--userns", user, "--pidns", pid)
        assert said.returncode == status, said._told()
        assert said.out.splitlines() == [os.readlink(f"/proc/{other.pid}/ns/{name}") for name in ("user", "pid")]


def test_new_pid_namespace_below_a_joined_one(bwrap):
    with Waiting(bwrap, "--unshare-user", "--unshare-pid") as other:
        user, pid = bwrap.open(f"/proc/{other.pid}/ns/user"), bwrap.open(f"/proc/{other.pid}/ns/pid")
        said = bwrap.sh("readlink /proc/self/ns/pid; exit 9", "--userns", user, "--pidns", pid, "--unshare-pid", "--proc", "/proc")
        assert said.returncode == 9, said._told()
        assert said.out not in (ours("pid"), os.readlink(f"/proc/{other.pid}/ns/pid"))


def test_userns2_is_switched_to_after_setup(bwrap):
    # --dev with another uid needs two user namespaces, one in the other: that is what flatpak joins.
    with Waiting(bwrap, "--unshare-user", "--unshare-pid", "--uid", "5", "--gid", "6", "--dev", "/dev") as other:
        inner = bwrap.open(f"/proc/{other.pid}/ns/user")
        outer = bwrap.own(fcntl.ioctl(inner, NS_GET_PARENT))
        assert os.fstat(outer).st_ino != os.stat("/proc/self/ns/user").st_ino
        said = bwrap.sh("readlink /proc/self/ns/user; id -u", "--userns", outer, "--userns2", inner, "--tmpfs", "/tmp/x")
        assert said.ok().out.splitlines() == [os.readlink(f"/proc/{other.pid}/ns/user"), "5"]


def test_userns_that_cannot_be_joined(bwrap, tree):
    said = bwrap(*HOST, "--userns", bwrap.open(tree / "file"), "true")
    said.fails(1, "bwrap: Joining ", " user namespace failed")


def test_userns_block_fd_leaves_the_maps_to_the_caller(bwrap):
    info_read, info = bwrap.pipe()
    block, unblock = bwrap.pipe()
    options = ("--unshare-user", "--userns-block-fd", block, "--info-fd", info)
    process = bwrap.start(*HOST, *options, "sh", "-c", "id -u; id -g")
    bwrap.close(info)
    text = b""
    while part := os.read(info_read, 4096):
        text += part
    pid = json.loads(text)["child-pid"]
    for name, content in (("uid_map", f"7 {os.getuid()} 1"), ("setgroups", "deny"), ("gid_map", f"8 {os.getgid()} 1")):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write(content)
    os.write(unblock, b"x")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out.split()) == (0, [b"7", b"8"]), err


def test_disable_userns_holds(bwrap):
    script = "unshare -U true 2>&- && echo made; unshare -Ur true 2>&- && echo made; exit 0"
    assert bwrap.sh(script, "--unshare-user", "--disable-userns").ok().out == ""
    # Also with capabilities, and a try to raise the limit again.
    script = "echo 9 > /proc/sys/user/max_user_namespaces; " + script
    assert bwrap.sh(script, "--unshare-user", "--disable-userns", "--cap-add", "ALL").ok().out == ""


def test_assert_userns_disabled(bwrap):
    said = bwrap(*HOST, "--assert-userns-disabled", "true")
    said.fails(1, "bwrap: creation of new user namespaces was not disabled as requested\n")
    bwrap(*HOST, "--unshare-user", "--disable-userns", "--assert-userns-disabled", "true").ok()


def test_uid_that_is_not_mapped_by_a_joined_namespace_fails(bwrap):
    with Waiting(bwrap, "--unshare-user") as other:
        user = Fd(bwrap.open(f"/proc/{other.pid}/ns/user"))
        assert bwrap(*HOST, "--userns", user, "--uid", "4711", "true").returncode == 1
