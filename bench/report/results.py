# SPDX-License-Identifier: Apache-2.0
"""What the suites measured: read from Google Benchmark's JSON, kept as one file, asked by name.

The names of cases are those of bench/suite.h: SUITE/CONTENDER/PARAMETER:VALUE/...
"""

import json
import re
import statistics

# What Google Benchmark adds to a name.
_ADDED = re.compile(r"/(iterations:\d+|repeats:\d+|manual_time|real_time|process_time|threads:\d+)")
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1e3}
# What Google Benchmark says of each run; all other numbers are counters of the suite.
_FIELDS = {"name", "family_index", "per_family_instance_index", "run_name", "run_type", "repetitions",
           "repetition_index", "threads", "iterations", "real_time", "cpu_time", "time_unit", "label",
           "error_occurred", "error_message", "items_per_second", "bytes_per_second"}


class Case:
    """One job done by one contender; `times` are milliseconds, one a repetition, in the order they ran."""

    def __init__(self, name, cached="", times=(), counters=None):
        self.name, self.cached, self.times = name, cached, list(times)
        self.counters = counters or {}
        self.suite, self.contender, *parameters = name.split("/")
        self.parameters = {}
        for parameter in parameters:
            key, _, value = parameter.partition(":")
            self.parameters[key] = int(value) if value.isdigit() else value

    @property
    def median(self):
        return statistics.median(self.times)

    @property
    def quartiles(self):
        if len(self.times) < 3:
            return min(self.times), max(self.times)
        low, _, high = statistics.quantiles(self.times, n=4, method="inclusive")
        return low, high

    def counter(self, name):
        return statistics.median(self.counters[name])


class Results:
    """`machine` says where and how it was measured, `missing` and `failed` are [{name, why}]."""

    def __init__(self, machine=None, cases=(), missing=(), failed=(), seconds=None):
        self.machine = machine or {}
        self.cases = {case.name: case for case in cases}
        self.missing, self.failed = list(missing), list(failed)
        self.seconds = seconds or {}

    def add_benchmarks(self, path):
        """What one suite wrote with --benchmark_out."""
        with open(path, encoding="utf-8") as file:
            runs = json.load(file)["benchmarks"]
        # They ran in an order that was drawn by lot; this is the one in which the suite has them.
        for run in sorted(runs, key=lambda run: run["family_index"]):
            if run["run_type"] != "iteration":
                continue
            name = _ADDED.sub("", run["name"])
            if run.get("error_occurred"):
                self._add_failure(name, run["error_message"])
                continue
            case = self.cases.setdefault(name, Case(name, run.get("label", "")))
            case.times.append(round(run["real_time"] * _MILLISECONDS[run["time_unit"]], 6))
            for key, value in run.items():
                if key not in _FIELDS:
                    case.counters.setdefault(key, []).append(value)

    def _add_failure(self, name, message):
        missing = message.startswith("missing: ")
        entry = {"name": name, "why": message.removeprefix("missing: ")}
        entries = self.missing if missing else self.failed
        if not any(known["name"] == name for known in entries):
            entries.append(entry)

    def get(self, name):
        """The case, or None where it was not measured, or not in all its repetitions."""
        if any(entry["name"] == name for entry in self.failed):
            return None
        return self.cases.get(name)

    def select(self, suite, **parameters):
        """The suite's cases that have these parameters, in the order they were registered."""
        return [case for case in self.cases.values()
                if case.suite == suite and self.get(case.name) is not None
                and all(case.parameters.get(key) == value for key, value in parameters.items())]

    def write(self, path):
        data = {"machine": self.machine, "seconds": self.seconds, "missing": self.missing, "failed": self.failed,
                "cases": [{"name": case.name, "cached": case.cached, "times_ms": case.times}
                          | ({"counters": case.counters} if case.counters else {})
                          for case in self.cases.values()]}
        # One case a line: a new measurement is a diff that can be read.
        with open(path, "w", encoding="utf-8") as file:
            file.write("{\n")
            for key in ("machine", "seconds", "missing", "failed"):
                file.write(f" {json.dumps(key)}: {json.dumps(data[key], indent=2)},\n")
            file.write(' "cases": [\n')
            file.write(",\n".join("  " + json.dumps(case) for case in data["cases"]))
            file.write("\n ]\n}\n")

    @classmethod
    def read(cls, path):
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
        cases = [Case(case["name"], case["cached"], case["times_ms"], case.get("counters"))
                 for case in data["cases"]]
        return cls(data["machine"], cases, data["missing"], data["failed"], data["seconds"])


def show_time(milliseconds):
    """Three digits at most, in the unit that people would use."""
    if milliseconds < 0.9995:
        return f"{milliseconds * 1000:.3g} µs"
    if milliseconds < 999.5:
        return f"{milliseconds:.3g} ms"
    return f"{milliseconds / 1000:.3g} s" if milliseconds < 999500 else f"{milliseconds / 60000:.3g} min"


def show_ratio(ratio):
    if ratio >= 9.95:
        return f"{ratio:,.0f} ×"
    if ratio >= 0.2:
        return f"{ratio:.2f} ×"
    return f"1/{1 / ratio:,.0f}"


def show_count(number):
    return f"{number:,}"


def show_size(kilobytes):
    if abs(kilobytes) < 999.5:
        return f"{kilobytes:.3g} KB"
    if abs(kilobytes) < 999.5 * 1024:
        return f"{kilobytes / 1024:.3g} MB"
    return f"{kilobytes / 1024 / 1024:.3g} GB"
