"""Standard input, output and error: closed, or whatever they are."""

import itertools
import os
import pty
import shutil
import socket
import subprocess

import pytest


@pytest.fixture
def look(strata, base, tmp_path):
    """Runs a command that tells which descriptors it has: {0: what it leads to, ...}."""

    def run(**popen):
        subprocess.run(
            strata.command("run", "--bind", f"{tmp_path}:/mnt", "base", "--", "cp", "-dR", "/proc/self/fd", "/mnt/fds"),
            env=strata.environment(), timeout=300, check=True, **popen,
        )
        links = {int(link.name): os.readlink(link) for link in (tmp_path / "fds").iterdir()}
        (tmp_path / "fds").chmod(0o700)  # of /proc
        shutil.rmtree(tmp_path / "fds")
        return {fd: target for fd, target in links.items() if not target.endswith("/fd")}  # its own, to list them

    return run


@pytest.mark.parametrize("closed", [c for n in range(4) for c in itertools.combinations((0, 1, 2), n)], ids=str)
def test_closed_ones_are_dev_null_and_nothing_else_takes_their_place(look, closed):
    found = look(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                 preexec_fn=lambda: [os.close(fd) for fd in closed])
    assert set(found) == {0, 1, 2}
    for fd in (0, 1, 2):
        assert found[fd] == "/dev/null" if fd in closed else found[fd].startswith("pipe:")


KINDS = {"pipe": "pipe:", "file": "/", "tty": "/dev/", "socket": "socket:", "null": "/dev/null"}


def test_any_kinds_of_them_are_handed_through(look, tmp_path):
    (tmp_path / "file").write_text("")
    leader, follower = pty.openpty()
    near, far = socket.socketpair()
    reading, writing = os.pipe()
    with open(tmp_path / "file", "r+") as file, open("/dev/null", "r+") as null:
        opened = {"file": file, "tty": follower, "socket": near, "null": null}
        for kinds in itertools.product(KINDS, repeat=3):
            streams = [opened.get(kind, reading if fd == 0 else writing) for fd, kind in enumerate(kinds)]
            found = look(stdin=streams[0], stdout=streams[1], stderr=streams[2])
            assert set(found) == {0, 1, 2}, kinds
            for fd, kind in enumerate(kinds):
                assert found[fd].startswith(KINDS[kind]), (kinds, found)
    for fd in (leader, follower, reading, writing):
        os.close(fd)
    near.close()
    far.close()
