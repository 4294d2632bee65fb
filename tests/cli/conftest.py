# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of the command line.

The binary under test is $STRATA (tools/test sets it; by hand: STRATA=build/dev/tools/strata pytest).
Every test has a store, a home and a temporary directory of its own, and is checked for what it
leaves behind: processes, mounts, temporary files.
"""

import os

import pytest
from archives import base_entries, write_tar
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
from terminals import Terminal

# They mount disks and drop caches: an ordinary user has test_new_boot.py and test_faults.py.
collect_ignore = (
    ["test_full_disk.py", "test_power_loss.py", "test_benchmark_suites.py"] if os.geteuid() != 0 else []
)


@pytest.fixture(scope="session")
def base_tar(tmp_path_factory):
    """The archive behind `base`, made once."""
    return write_tar(tmp_path_factory.mktemp("base") / "base.tar", base_entries())


@pytest.fixture
def base(strata, base_tar):
    """The busybox root, imported into the test's store under the ref `base`; the fixture is its id."""
    return strata("import", "--name", "base", base_tar).ok().out


@pytest.fixture
def open_terminal(strata):
    """open_terminal(command) starts it at a terminal; what still runs in the end is killed."""
    opened = []

    def start(command, **popen):
        opened.append(Terminal(strata, command, **popen))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


@pytest.fixture
def shell(strata, base, open_terminal):
    """`strata shell base` with its first prompt read."""
    terminal = open_terminal(strata.command("shell", "base"))
    terminal.expect(r"# ")
    return terminal
