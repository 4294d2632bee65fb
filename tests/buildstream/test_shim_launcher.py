# SPDX-License-Identifier: Apache-2.0
"""strata-bst refuses to work by halves, and is bst in everything else."""

import os
import shutil
import subprocess
from pathlib import Path

STRATA_BST = Path(__file__).resolve().parents[2] / "tools/buildstream/strata-bst"


def call(*words, **environment):
    return subprocess.run([STRATA_BST, *words], env=os.environ | environment, capture_output=True, text=True, check=False)


def test_version_and_help_are_those_of_bst():
    bst = shutil.which("bst")
    for words in (["--version"], ["build", "--help"]):
        ours, theirs = call(*words), subprocess.run([bst, *words], capture_output=True, text=True, check=True)
        assert (ours.returncode, ours.stderr) == (0, theirs.stderr)
        # click names the program that was started.
        assert ours.stdout.replace("strata-bst", "bst") == theirs.stdout


def test_without_the_library_nothing_is_done():
    done = call("--version", STRATA_LIBRARY="/nowhere/libstrata.so.0")
    assert done.returncode == 255 and done.stdout == ""
    assert done.stderr.startswith("strata-bst: /nowhere/libstrata.so.0: cannot open")


def test_without_strata_bwrap_nothing_is_done(tmp_path):
    done = call("--version", STRATA_BWRAP="", PATH=str(tmp_path))
    assert done.returncode == 255 and done.stdout == ""
    assert "there is no strata-bwrap" in done.stderr


def test_another_buildstream_is_refused(tmp_path):
    (tmp_path / "buildstream").mkdir()
    (tmp_path / "buildstream/__init__.py").write_text("__version__ = '2.0.1'\n")
    done = call("--version", PYTHONPATH=str(tmp_path))
    assert done.returncode == 255
    assert done.stderr == "strata-bst: strata-bst knows BuildStream 1.6.8, and this is 2.0.1\n"
