# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of strata-mount, the executable that takes fuse-overlayfs's command line.

The executable under test is $STRATA_MOUNT. Everything is mounted in namespaces of the test's own: for an
ordinary user those where the user is root, with one id. test_as_fuse.py compares with fuse-overlayfs itself.
"""

from pathlib import Path

import pytest
from calling import executable
from directories import make_directory
from fixtures import (  # noqa: F401
    layer,
    make_tar,
    no_leaks,
    pytest_configure,
    pytest_runtest_makereport,
    store,
    strata,
    strata_binary,
)
from mounter import ROOT, Mounter

# An ordinary user may not open /dev/fuse on a machine without udev, and podman's runc wants root.
collect_ignore = [] if ROOT else ["test_as_fuse.py", "test_podman.py"]


@pytest.fixture(scope="session")
def mount_binary():
    return executable("STRATA_MOUNT", "strata-mount executable")


@pytest.fixture
def directories(tmp_path):
    """directories(top={...}, bottom={...}) makes them, and an upper, a work and a target `at`."""

    def make(**layers):
        for name in ("upper", "work", "at"):
            if name not in layers:
                Path(tmp_path, name).mkdir(exist_ok=True)
        for name, entries in layers.items():
            make_directory(tmp_path / name, entries)
        return tmp_path

    return make


@pytest.fixture
def mount(mount_binary, strata, tmp_path):
    return Mounter(mount_binary, strata.home, tmp_path)
