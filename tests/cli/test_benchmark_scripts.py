# SPDX-License-Identifier: Apache-2.0
"""The suites that are scripts: what they write is what the report reads, and what is not here is named."""

import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from report.results import Results  # noqa: E402

SUITE = """
import sys
sys.path.insert(0, {bench!r})
from suite import Failure, Suite

def fail():
    raise Failure("it broke")

with Suite("a test") as suite:
    suite.declare(["job/first/files:2", "job/second/files:2", "job/gone/files:2", "job/broken/files:2"])
    suite.add("job/second/files:2", "all warm", 3, lambda: {{"things": 7}})
    suite.add("job/broken/files:2", "all warm", 3, fail)
    suite.run()
    suite.record("job/first/files:2", "all cold", 0.5)
    suite.missing("job/gone/files:2", "gone is not installed")
"""


def measured(tmp_path, *words, **environment):
    """What a script wrote, read as bench/run reads it; and what it printed."""
    path = tmp_path / "suite.json"
    said = subprocess.run([sys.executable, "-B", *words, f"--benchmark_out={path}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=True, env={"STRATA_BENCH_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"} | environment)
    results = Results()
    results.add_benchmarks(path)
    path.unlink()
    return results, said


def test_the_report_reads_what_a_script_measured(tmp_path):
    results, _ = measured(tmp_path, "-c", SUITE.format(bench=str(BENCH)))
    assert [case.contender for case in results.select("job", files=2)] == ["first", "second"]
    assert results.get("job/first/files:2").times == [500.0]
    second = results.get("job/second/files:2")
    assert len(second.times) == 3 and second.cached == "all warm" and second.counter("things") == 7


def test_a_script_names_what_is_missing_and_what_failed(tmp_path):
    results, _ = measured(tmp_path, "-c", SUITE.format(bench=str(BENCH)))
    assert results.missing == [{"name": "job/gone/files:2", "why": "gone is not installed"}]
    assert results.failed == [{"name": "job/broken/files:2", "why": "it broke"}]


def test_a_filter_leaves_only_what_it_matches(tmp_path):
    results, _ = measured(tmp_path, "-c", SUITE.format(bench=str(BENCH)), "--benchmark_filter=first|gone")
    assert list(results.cases) == ["job/first/files:2"]
    assert [entry["name"] for entry in results.missing] == ["job/gone/files:2"]


def test_a_peer_that_is_not_installed_is_named(tmp_path, strata_binary):
    programs = tmp_path / "no programs"
    programs.mkdir()
    results, _ = measured(tmp_path, BENCH / "builds", "--benchmark_filter=rebuild/(ostree_checkout|buildstream)/", PATH=str(programs),
                          STRATA=str(strata_binary), STRATA_BENCH_SIZE="quick")
    assert results.missing == [{"name": "rebuild/buildstream/files:10000", "why": "bst, bwrap not installed"},
                               {"name": "rebuild/ostree_checkout/files:10000", "why": "ostree, bwrap not installed"}]
    assert [path.name for path in tmp_path.iterdir()] == ["no programs"]
