# SPDX-License-Identifier: Apache-2.0
"""strata-bst refuses to work by halves, and is bst in everything else."""

import os
import shutil
import subprocess
from pathlib import Path

from trees import write_import, write_project

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


def completed(program, script, line, cwd):
    """What bash offers for the last word of the line, with that script sourced."""
    words = line.split(" ")
    ask = f'''. "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD={len(words) - 1}
        set -- $(complete -p {os.path.basename(program)}); while [ "$1" != -F ]; do shift; done
        "$2" {program}; printf "%s\\n" "${{COMPREPLY[@]}}"'''
    done = subprocess.run(["bash", "--norc", "-c", ask, "bash", script, *words], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_what_it_completes_for_bst(tmp_path):
    write_project(tmp_path)
    write_import(tmp_path, "one", {"x": "x"})
    write_import(tmp_path, "once", {"x": "x"})
    for line, wanted in (("bu", "build"), ("build on", "once.bst"), ("build --", "--track-all")):
        ours = completed(str(STRATA_BST), STRATA_BST.parent / "completion.bash", f"strata-bst {line}", tmp_path)
        theirs = completed("bst", "/usr/share/bash-completion/completions/bst", f"bst {line}", tmp_path)
        assert wanted in ours and ours == theirs


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
