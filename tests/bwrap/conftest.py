# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of strata-bwrap, the executable that takes bubblewrap's command line.

The executable under test is $BWRAP. Nearly all of these tests hold for bubblewrap itself, and are
tried on it before they are believed:

    tests/bwrap/fetch --peers /var/tmp/peers
    BWRAP=/var/tmp/peers/bwrap-0.12.0 STRATA=build/dev/tools/strata pytest tests/bwrap

What bubblewrap does otherwise, or not at all, is marked: `strata` is ours alone, and
`since("0.12.0")` is what older ones do not do.
"""

import re
import subprocess
from pathlib import Path

import fixtures
import pytest
from archives import APPLETS, BUSYBOX
from bwrap_call import Bwrap
from calling import Strata, executable
from fixtures import layer, make_tar, no_leaks, pytest_runtest_makereport, store, strata_binary  # noqa: F401


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
