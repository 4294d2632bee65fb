# SPDX-License-Identifier: Apache-2.0
"""What bench/run makes of measurements, and that the documents have the committed ones."""

import json
import pathlib
import subprocess
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))

from report import contract, page, tables  # noqa: E402
from report.results import Results, show_ratio, show_time  # noqa: E402


def run_of(name, time, **more):
    """As Google Benchmark writes one repetition."""
    return {"name": f"{name}/iterations:1/repeats:3/manual_time", "run_name": name, "family_index": 0, "run_type": "iteration",
            "repetition_index": 0, "iterations": 1, "real_time": time, "cpu_time": 1.0, "time_unit": "ms",
            "label": "all warm"} | more


@pytest.fixture
def read(tmp_path):
    """Results of these runs."""
    def read(*runs):
        path = tmp_path / "suite.json"
        path.write_text(json.dumps({"context": {}, "benchmarks": list(runs)}))
        results = Results({"fs": "ext4"})
        results.add_benchmarks(path)
        return results
    return read


def check(tmp_path, results):
    path = tmp_path / "results.json"
    results.write(path)
    return subprocess.run([BENCH / "check", path], stdout=subprocess.PIPE, text=True, check=False)


def test_times_are_milliseconds_whatever_the_unit_of_the_suite(read):
    results = read(run_of("run/strata", 1500.0, time_unit="us"), run_of("run/bwrap", 2e6, time_unit="ns"))
    assert results.get("run/strata").median == 1.5
    assert results.get("run/bwrap").median == 2


def test_cases_are_in_the_order_of_the_suite_whatever_the_order_they_ran_in(read):
    results = read(run_of("start/b", 2.0, family_index=1), run_of("start/a", 1.0, family_index=0), run_of("start/b", 2.0, family_index=1))
    assert [case.name for case in results.select("start")] == ["start/a", "start/b"]


def test_aggregates_are_not_counted_as_repetitions(read):
    results = read(run_of("run/strata", 1.0), run_of("run/strata", 3.0),
                   run_of("run/strata", 99.0, run_type="aggregate"))
    assert results.get("run/strata").times == [1.0, 3.0]


def test_a_ratio_within_its_bound_passes_and_one_beyond_fails(read):
    def verdict(time):
        results = read(run_of("run/strata/files:100000", time), run_of("run/bwrap/files:100000", 1.0))
        return contract.verdicts(results)[0]
    assert verdict(0.89).word == "passes"
    assert verdict(0.91).word == "FAILS"


def test_check_tells_each_bound_that_was_not_measured_and_fails(read, tmp_path):
    done = check(tmp_path, read(run_of("run/strata/files:100000", 0.5), run_of("run/bwrap/files:100000", 1.0)))
    assert done.returncode == 1
    lines = done.stdout.splitlines()[1:]
    assert len(lines) == len(contract.RULES)
    assert lines[0].endswith("passes")
    assert all(line.endswith("not measured") for line in lines[1:])


def test_a_case_that_failed_in_one_repetition_is_compared_with_nothing(read):
    results = read(run_of("run/strata", 1.0), run_of("run/strata", 0.0, error_occurred=True, error_message="exited with 1"))
    assert results.get("run/strata") is None
    assert results.select("run") == []
    assert tables.left_out(results) == "* failed: strata (run): exited with 1"


def test_a_missing_peer_is_named_with_its_reason_on_the_page_and_in_the_table(read):
    results = read(run_of("stage/strata/files:1", 1.0),
                   run_of("stage/rsync_link_dest/files:1", 0.0, error_occurred=True, error_message="missing: rsync is not installed"))
    for text in (page.html(results), tables.markdown(results)):
        assert "rsync --link-dest (stage): rsync is not installed" in text


def test_results_are_read_back_as_they_were_written(read, tmp_path):
    results = read(run_of("memory/strata/sandboxes:8", 1.25, disk_kb_each=28.0))
    results.write(tmp_path / "results.json")
    again = Results.read(tmp_path / "results.json")
    assert again.get("memory/strata/sandboxes:8").times == [1.25]
    assert again.get("memory/strata/sandboxes:8").counter("disk_kb_each") == 28
    assert again.get("memory/strata/sandboxes:8").parameters == {"sandboxes": 8}


@pytest.mark.parametrize("milliseconds,shown", [(0.0123, "12.3 µs"), (1.5, "1.5 ms"), (999.9, "1 s"), (93000, "93 s")])
def test_times_are_shown_in_the_unit_that_people_use(milliseconds, shown):
    assert show_time(milliseconds) == shown


@pytest.mark.parametrize("ratio,shown", [(0.75, "0.75 ×"), (0.005, "1/200"), (1234.0, "1,234 ×")])
def test_small_ratios_are_shown_as_fractions(ratio, shown):
    assert show_ratio(ratio) == shown


def test_the_documents_have_the_committed_figures():
    done = subprocess.run([BENCH / "docs", "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_committed_figures_are_within_the_contract():
    done = subprocess.run([BENCH / "check", BENCH / "results" / "ext4.json"], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout
