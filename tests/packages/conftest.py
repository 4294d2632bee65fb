# SPDX-License-Identifier: Apache-2.0
"""Fixtures for the tests of what is installed.

$STRATA_PACKAGES names the directory that tests/packages/prepare made, $STRATA the executable that, for
an ordinary user, makes the machine on which the packages are installed: a bare Debian root. It is below
$STRATA_DISK, if that is set.
"""

import os
from pathlib import Path

import pytest
from fixtures import pytest_configure, pytest_runtest_makereport, strata_binary  # noqa: F401
from machines import RootMachine, SandboxMachine, packages


@pytest.fixture(scope="session")
def prepared():
    """The directory with packages, installations and the bare root."""
    path = os.environ.get("STRATA_PACKAGES")
    if not path:
        pytest.exit("STRATA_PACKAGES is not set: it must name what tests/packages/prepare made", returncode=3)
    return Path(path).resolve()


@pytest.fixture(scope="session")
def machine(prepared, strata_binary, tmp_path_factory):
    # A gigabyte and some. What tools/test mounts here it throws away as a whole.
    disk = os.environ.get("STRATA_DISK")
    directory = Path(disk) if disk else tmp_path_factory.mktemp("machine")
    made = RootMachine(directory, prepared) if os.geteuid() == 0 else SandboxMachine(directory, prepared, strata_binary)
    # Nothing of it has to survive a crash.
    made.run("echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/unsafe-io").ok()
    # A --cache is its maker's alone until that is changed.
    made.run("chmod 755 /home && useradd --create-home --shell /bin/bash user").ok()
    yield made
    if not (disk and os.path.ismount(disk)):
        made.remove()


@pytest.fixture(scope="session")
def bare_files(machine):
    """The files of the machine before anything was installed on it."""
    return machine.files()


@pytest.fixture(scope="session")
def installed(machine, prepared, bare_files):
    """The machine with the packages and what they recommend."""
    machine.run("apt-get update -q && apt-get install -q -y " + " ".join(packages(prepared, "old"))).ok()
    return machine


@pytest.fixture(scope="session")
def workshop(installed):
    """The machine with compilers, too, and a tree of sources, ~/sources."""
    installed.run("apt-get install -q -y --no-install-recommends g++ make cmake pkgconf python3").ok()
    installed.run("mkdir sources; echo flour >sources/flour", user="user").ok()
    return installed
