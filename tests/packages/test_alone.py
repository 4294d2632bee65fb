# SPDX-License-Identifier: Apache-2.0
"""The package strata alone, before anything else is on the machine."""

from machines import packages


def test_dpkg_installs_strata_with_nothing_else(machine, prepared, bare_files):
    machine.run("dpkg -i " + " ".join(packages(prepared, "old", "strata"))).ok()
    assert machine.run("strata --version", user="user").ok().out
    machine.run("dpkg --purge strata").ok()
    assert machine.files() == bare_files
