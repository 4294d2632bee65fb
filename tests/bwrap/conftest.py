# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of strata-bwrap, the executable that takes bubblewrap's command line.

The executable under test is $BWRAP. Nearly all of these tests hold for bubblewrap itself, and are
tried on it before they are believed:

    tests/bwrap/fetch --peers /var/tmp/peers
    BWRAP=/var/tmp/peers/bwrap-0.12.0 STRATA=build/dev/tools/strata pytest tests/bwrap

What bubblewrap does otherwise, or not at all, is marked: `strata` is ours alone, and
`since("0.12.0")` is what older ones do not do.
"""

import os
import re
import subprocess
from pathlib import Path

import fixtures
import pytest
from archives import APPLETS, BUSYBOX
from calling import Result, Strata, executable, text_of
from fixtures import layer, make_tar, no_leaks, pytest_runtest_makereport, store, strata_binary  # noqa: F401

# The whole host with a /tmp of its own, as bubblewrap's suite has it.
HOST = ("--bind", "/", "/", "--tmpfs", "/tmp")


def pytest_configure(config):
    fixtures.pytest_configure(config)
    config.addinivalue_line("markers", "strata: does not hold for bubblewrap")
    config.addinivalue_line("markers", "since(version): holds for bubblewrap of that version or later")


@pytest.fixture(scope="session")
def bwrap_binary():
    return executable("BWRAP", "executable")


@pytest.fixture(scope="session")
def peer_version(bwrap_binary):
    """The version of bubblewrap that is under test, as a tuple; None where it is strata-bwrap."""
    said = subprocess.run([bwrap_binary, "--help"], capture_output=True, text=True).stdout
    if "--layer" in said:
        return None
    version = subprocess.run([bwrap_binary, "--version"], capture_output=True, text=True).stdout
    return _version(version)


def _version(text):
    return tuple(map(int, re.search(r"(\d+)\.(\d+)\.(\d+)", text).groups()))


@pytest.fixture(autouse=True)
def only_where_it_holds(request, peer_version):
    if peer_version is None:
        return
    if request.node.get_closest_marker("strata"):
        pytest.skip("bubblewrap does otherwise; set BWRAP to strata-bwrap")
    since = request.node.get_closest_marker("since")
    if since and peer_version < _version(since.args[0]):
        pytest.skip(f"bubblewrap does so since {since.args[0]}")


class Fd(int):
    """A descriptor among the arguments of a call: it is passed on to the executable."""


class Bwrap:
    """Calls the executable in an environment that has only what the test gives it."""

    def __init__(self, binary, home, tmp):
        self.binary, self.home, self.tmp = binary, home, tmp
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LANG": "C.UTF-8",
        }
        self.env.update((k, v) for k, v in os.environ.items() if k.endswith("SAN_OPTIONS"))
        self._open = []

    # --- descriptors, closed when the test is over

    def own(self, fd):
        self._open.append(fd)
        return Fd(fd)

    def data(self, content):
        """A descriptor from which `content` can be read, once."""
        fd = os.memfd_create("data")
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        return self.own(fd)

    def open(self, path, flags=os.O_RDONLY):
        return self.own(os.open(path, flags))

    def pipe(self):
        read, write = os.pipe()
        return self.own(read), self.own(write)

    def close(self, fd):
        self._open.remove(fd)
        os.close(fd)

    def close_all(self):
        for fd in self._open:
            os.close(fd)

    # --- calls

    def _popen(self, args, env, cwd, popen):
        passed = {int(arg) for arg in args if isinstance(arg, Fd)} | set(popen.pop("pass_fds", ()))
        merged = {**self.env, **(env or {})}
        return {
            "args": [os.fspath(a) if isinstance(a, (os.PathLike, bytes)) else str(a) for a in (self.binary, *args)],
            "env": {name: str(value) for name, value in merged.items() if value is not None},
            "cwd": cwd or self.home,
            "pass_fds": sorted(passed),
            **popen,
        }

    def __call__(self, *args, input=None, env=None, cwd=None, timeout=60, **popen):
        """Runs it to its end. `input` is text; none means an empty stdin."""
        if input is None:
            popen.setdefault("stdin", subprocess.DEVNULL)
        else:
            popen["input"] = input.encode()
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        done = subprocess.run(**self._popen(args, env, cwd, popen), timeout=timeout)
        return Result(done.args, done.returncode, text_of(done.stdout), text_of(done.stderr))

    def start(self, *args, env=None, cwd=None, **popen):
        popen.setdefault("stdin", subprocess.DEVNULL)
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen(**self._popen(args, env, cwd, popen))

    def sh(self, script, *options, **kwargs):
        """A shell script on the host's root; see HOST."""
        return self(*HOST, *options, "sh", "-c", script, **kwargs)

    def mounts(self, *options, **kwargs):
        """What is mounted in the sandbox, outermost last: {mount point: (options, type)}."""
        found = {}
        for line in self(*options, "cat", "/proc/self/mountinfo", **kwargs).ok().out.splitlines():
            fields = line.split()
            dash = fields.index("-")
            found[fields[4]] = (set(fields[5].split(",")), fields[dash + 1])
        return found


@pytest.fixture
def bwrap(bwrap_binary, tmp_path):
    """bwrap("--ro-bind", "/", "/", "true").ok(); see class Bwrap."""
    home, tmp = tmp_path / "home", tmp_path / "tmp"
    home.mkdir(exist_ok=True)
    tmp.mkdir(exist_ok=True)
    caller = Bwrap(bwrap_binary, home, tmp)
    yield caller
    caller.close_all()


@pytest.fixture
def strata(strata_binary, store, bwrap):
    """The store's own command, for what --layer names."""
    return Strata(strata_binary, store, bwrap.home, bwrap.tmp)


@pytest.fixture
def tree(tmp_path):
    """A directory with some files: {tree}/file, {tree}/sub/below, and a link to each of file and sub."""
    path = tmp_path / "tree"
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("content\n")
    (path / "sub" / "below").write_text("below\n")
    (path / "to_file").symlink_to("file")
    (path / "to_sub").symlink_to("sub")
    return path


@pytest.fixture
def root(tmp_path):
    """A root file system that is busybox, and may be written to."""
    path = tmp_path / "root"
    for name in ("bin", "etc", "usr/share", "var/tmp"):
        (path / name).mkdir(parents=True)
    # A link would not do: the kernel protects what others own from being linked to.
    (path / "bin/busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (path / "bin/busybox").chmod(0o755)
    for applet in (*APPLETS, "whoami", "ls"):
        link = path / "bin" / applet
        if not link.is_symlink():
            link.symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (path / "etc/group").write_text("root:x:0:\n")
    return path
