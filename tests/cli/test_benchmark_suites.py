# SPDX-License-Identifier: Apache-2.0
"""The suites of bench/ run, as root: some cases of each, in the small size, in a tmpfs. What they measure is not looked at."""

import os
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SUITES = Path(os.environ["STRATA"]).resolve().parents[1] / "bench"
CASES = {
    "run": "/strata",
    "hit": "strata_library/files:1000/",
    "start": "",
    "stage": "/(strata|strata_hardlink|bare_linkat|cp_al)/files:1000/",
    "restage": "restage_layers/(strata|cp_al)/",
    "unstage": "unstage/(strata|cp_al)/files:10000",
    "compose": "compose/(strata|bare_linkat)/layers:2/",
    "inside": "compile/(strata|plain)/",
    "writing": "/(strata|hardlinks|unlinked)/",
    "import": "import/(strata|tar_x)/files:10000",
    "capture": "capture/(strata|strata_run)/files:1000/",
    "hash": "strata_library",
    "bwrap": "/binds:20/",
}


def test_every_suite_is_here():
    assert {path.name.removeprefix("bench_") for path in SUITES.glob("bench_*")} == set(CASES) | {"depth"}


@pytest.mark.parametrize("suite", CASES)
def test_suite_runs_without_a_failed_case(suite, tmp_path):
    environment = dict(os.environ, STRATA_BENCH_SIZE="quick", TMPDIR=str(tmp_path))
    done = subprocess.run([BENCH / "on_fresh_fs", "tmpfs", SUITES / f"bench_{suite}", f"--benchmark_filter={CASES[suite]}"],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "_median" in done.stdout, "no case ran"
    assert "ERROR OCCURRED" not in done.stdout, done.stdout[-4000:]
