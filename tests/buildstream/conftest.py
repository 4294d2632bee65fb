# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of strata-bst: BuildStream on both sides, with and without strata.

The launcher under test is $STRATA_BST, else tools/buildstream/strata-bst. With STRATA_BST=/usr/bin/bst both
sides are the same, which shows that nothing is compared that bst itself does not repeat.
"""

import os
import shutil
from pathlib import Path

import pytest
from fixtures import no_leaks, pytest_configure, pytest_runtest_makereport  # noqa: F401
from leaks import mounts_under, remove_tree
from sides import Pair, Side

HERE = Path(__file__).resolve().parent


def fuse_is_usable():
    """Whether this user may mount with FUSE; where not, bst waits for ever for its own mount."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError:
        return False
    return True


# What shows that plain_bst is as good as bst needs both.
collect_ignore = [] if fuse_is_usable() else ["test_harness.py"]


@pytest.fixture(scope="session")
def strata_bst():
    path = Path(os.environ.get("STRATA_BST") or HERE.parent.parent / "tools/buildstream/strata-bst").resolve()
    if not os.access(path, os.X_OK):
        pytest.exit(f"{path} is not an executable file; STRATA_BST names another", returncode=3)
    return path


@pytest.fixture(scope="session")
def plain_bst():
    return Path(shutil.which("bst") if fuse_is_usable() else HERE / "plain_bst")


@pytest.fixture(scope="session")
def make_pair(plain_bst, strata_bst):
    """Makes two fresh sides in a directory; the caller removes that."""
    told = {name: os.environ[name] for name in ("STRATA_BWRAP", "STRATA_LIBRARY") if name in os.environ}

    def make(place):
        return Pair(Side("plain", plain_bst, place), Side("strata", strata_bst, place, told))

    return make


@pytest.fixture
def pair(make_pair, tmp_path):
    """Two sides that nobody has used."""
    return make_pair(tmp_path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory of this module's, for what several of its tests look at."""
    path = tmp_path_factory.mktemp("sides")
    yield path
    leaked = mounts_under(path)
    remove_tree(path)
    assert not leaked, leaked
