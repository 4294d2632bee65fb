# SPDX-License-Identifier: Apache-2.0
"""A store that is named by a relative path, as in a build's own directory."""

import os

import pytest


@pytest.mark.parametrize("path", ["store", "./store", "../{parent}/store"])
@pytest.mark.parametrize("options", [[], ["--scratch", "tmpfs"], ["--workspace", "w"], ["--integrate", "true"], ["--read-only"]])
def test_a_run_finds_a_store_by_a_relative_path(strata, base, path, options):
    directory, name = os.path.split(strata.env["STRATA_STORE"])
    path = path.replace("store", name).format(parent=os.path.basename(directory))
    said = strata("run", *options, "base", "--", "echo", "there", cwd=directory, env={"STRATA_STORE": path}).ok()
    assert said.out.strip() == "there"
