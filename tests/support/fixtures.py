# SPDX-License-Identifier: Apache-2.0
"""Fixtures and hooks of several suites: a conftest.py imports those that its tests use."""

import ctypes
import os
import signal

import pytest
from archives import write_tar
from calling import Strata, executable
from leaks import TRANSIENT, children, mounts_under, remove_tree, wait_for_children

PR_SET_CHILD_SUBREAPER = 36
# Set on a test that has failed: its files are kept for whoever looks into it.
FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With STRATA_TESTS_MUST_RUN=1 (continuous integration) a test that cannot run has failed."""
    report = (yield).get_result()
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("STRATA_TESTS_MUST_RUN") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{reason}\n(a skip is a failure because STRATA_TESTS_MUST_RUN=1)"
    if report.failed:
        item.stash[FAILED] = True


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "leaves_files: the test kills strata or keeps a failed stage, so $TMPDIR and the transient "
        "directories of the store need not be empty after it",
    )
    config.addinivalue_line("markers", "stress: many rounds of the same thing; minutes, not seconds")
    # Whatever a test leaves running becomes a child of this process, and is found by the leak check,
    # also when strata was killed or the process was made in another pid namespace.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@pytest.fixture(scope="session")
def strata_binary():
    """The absolute path of the executable under test."""
    return executable("STRATA", "strata executable")


@pytest.fixture
def store(tmp_path):
    """The path of the test's own store. It does not exist yet."""
    return tmp_path / "store"


@pytest.fixture
def strata(strata_binary, store, tmp_path):
    """`strata("list", "--json")` runs the executable and returns a Result; see class Strata."""
    home, tmp = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    tmp.mkdir()
    return Strata(strata_binary, store, home, tmp)


@pytest.fixture
def make_tar(tmp_path):
    """make_tar("app.tar", {"usr": None, "usr/hello": "hi\\n"}) -> the path of the archive."""

    def make(name, entries, **options):
        return write_tar(tmp_path / name, entries, **options)

    return make


@pytest.fixture
def layer(strata, make_tar):
    """layer("app", {"opt/x": "1"}, *import_options) imports such a tree as the ref, and returns its id."""

    def make(ref, entries, *options):
        archive = make_tar(f"{ref.replace('/', '_')}.layer.tar", entries)
        return strata("import", "--name", ref, *options, archive).ok().out

    return make


@pytest.fixture(autouse=True)
def no_leaks(request, tmp_path):
    """After each test: no process, no mount of its store, nothing in $TMPDIR, nothing half-made."""
    known = children()
    yield
    leaks = []
    # Killing one hands its children to this process: they are the next round.
    while left := wait_for_children(known, seconds=60):
        for pid, line in left.items():
            leaks.append(f"process {pid}: {line}")
            os.kill(pid, signal.SIGKILL)
    leaks += [f"mount: {line}" for line in mounts_under(tmp_path)]
    if not request.node.get_closest_marker("leaves_files"):
        # Without listing the whole of what was left: one line for each entry at the top.
        for place in (tmp_path / "tmp", *(tmp_path / "store" / name for name in TRANSIENT)):
            if place.is_dir():
                leaks += [
                    f"file: {path}"
                    for path in sorted(place.iterdir())
                    if place.name != "stages" or path.stat().st_mode & 0o7777 != 0o1700
                ]
    if not leaks and FAILED not in request.node.stash:
        remove_tree(tmp_path)
    if leaks:
        pytest.fail("the test left behind\n  " + "\n  ".join(leaks), pytrace=False)
