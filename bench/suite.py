# SPDX-License-Identifier: Apache-2.0
"""The contract of suite.h for suites in Python: names, labels, sizes and what is missing, and the same JSON.

A suite says what there is with `add` and `missing` and ends with `run`, or measures for itself and says what
it found with `record`. Options are those of Google Benchmark that bench/run uses: --benchmark_filter=REGEX,
--benchmark_out=FILE and --benchmark_list_tests.
"""

import argparse
import datetime
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


class Failure(Exception):
    """A contender did not do its work; the text says which command and how."""


def run(words, **options):
    """Runs a command that must succeed, and returns what it printed."""
    try:
        ended = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    except OSError as error:
        raise Failure(f"{words[0]} cannot be started: {error.strerror}") from None
    if ended.returncode != 0:
        said = (ended.stderr or ended.stdout).decode(errors="replace").strip().splitlines()
        raise Failure(f"{' '.join(map(str, words[:3]))} ... exited with {ended.returncode}: {' / '.join(said[-3:])[-300:]}")
    return ended.stdout.decode(errors="replace")


def installed(program):
    return shutil.which(program) is not None


def strata():
    """The executable that is measured: $STRATA, else that of a build tree, the newest."""
    given = os.environ.get("STRATA")
    if given:
        return os.path.realpath(given)
    built = [f"{ROOT}/build/{preset}/tools/strata" for preset in ("release", "ci", "dev")]
    built = sorted((path for path in built if os.path.exists(path)), key=os.path.getmtime)
    if not built:
        sys.exit("there is no strata to measure: build one, or set STRATA")
    return built[-1]


def settle(path):
    """What was written before is not written back while something else is timed."""
    subprocess.run(["sync", "-f", path], check=True)


class Suite:
    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--benchmark_filter", default="", metavar="REGEX", help="only the cases that this matches")
        parser.add_argument("--benchmark_out", metavar="FILE", help="write JSON there")
        parser.add_argument("--benchmark_out_format", choices=["json"], default="json", help="(as Google Benchmark has it)")
        parser.add_argument("--benchmark_list_tests", action="store_true", help="name the cases and measure nothing")
        self.options = parser.parse_args()
        self.size = os.environ.get("STRATA_BENCH_SIZE", "default")
        if self.size not in ("quick", "default", "full"):
            sys.exit(f"STRATA_BENCH_SIZE is quick, default or full, not {self.size}")
        # What was made is removed then, too.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        self.context = {}
        self._order = []
        self._cases = []
        self._found = []
        self._place = None

    def by_size(self, quick, default, full):
        return {"quick": quick, "default": default, "full": full}[self.size]

    def declare(self, names):
        """All cases, in the order of the report. With --benchmark_list_tests that is all there is to do."""
        self._order = names = list(names)
        if self.options.benchmark_list_tests:
            print("\n".join(name for name in names if self.wanted(name)))
            sys.exit()

    def wanted(self, name):
        return re.search(self.options.benchmark_filter, name) is not None

    @property
    def place(self):
        """A fresh directory below $STRATA_BENCH_DIR, removed at the end."""
        if self._place is None:
            self._place = tempfile.mkdtemp(prefix="strata-bench-", dir=os.environ.get("STRATA_BENCH_DIR", "/var/tmp"))
            os.chmod(self._place, 0o755)
        return self._place

    def add(self, name, cached, repetitions, work, prepare=None, after=None):
        """work() is timed, and may return a dict of counters; prepare() and after() are not timed."""
        if self.wanted(name):
            self._cases.append((name, cached, repetitions, work, prepare, after))

    def missing(self, name, why):
        self.failed(name, f"missing: {why}")

    def failed(self, name, why):
        if self.wanted(name):
            self._found.append((name, "", 0.0, {}, why))
            print(f"{name:60} {why}", file=sys.stderr, flush=True)

    def record(self, name, cached, seconds, counters=None):
        if self.wanted(name):
            self._found.append((name, cached, seconds, counters or {}, None))
            shown = " ".join(f"{key}={value:.5g}" for key, value in (counters or {}).items())
            print(f"{name:60} {seconds * 1e3:12.3f} ms  {shown}", flush=True)

    def run(self):
        """All repetitions of all cases, interleaved at random, so that a slow moment hits all alike."""
        turns = [case for case in self._cases for _ in range(case[2])]
        random.shuffle(turns)
        gone = set()
        for case in turns:
            name, cached, _, work, prepare, after = case
            if name in gone:
                continue
            try:
                if prepare:
                    prepare()
                settle(self.place)
                start = time.monotonic()
                counters = work()
                seconds = time.monotonic() - start
                if after:
                    after()
            except Failure as failure:
                gone.add(name)
                self.failed(name, str(failure))
                continue
            self.record(name, cached, seconds, counters)
        self._cases = []

    def write(self):
        """Also what was found before something went wrong."""
        if not self.options.benchmark_out:
            return
        names = list(dict.fromkeys([*self._order, *(name for name, *_ in self._found)]))
        counts = {name: sum(found[0] == name for found in self._found) for name in names}
        seen = dict.fromkeys(names, 0)
        benchmarks = []
        for name, cached, seconds, counters, why in sorted(self._found, key=lambda found: names.index(found[0])):
            entry = {
                "name": name,
                "family_index": names.index(name),
                "per_family_instance_index": 0,
                "run_name": name,
                "run_type": "iteration",
                "repetitions": counts[name],
                "repetition_index": seen[name],
                "threads": 1,
            }
            seen[name] += 1
            if why is not None:
                entry |= {"error_occurred": True, "error_message": why}
            entry |= {"iterations": 1, "real_time": seconds * 1e3, "cpu_time": 0.0, "time_unit": "ms"}
            entry |= {key: float(value) for key, value in counters.items()}
            if cached:
                entry["label"] = cached
            benchmarks.append(entry)
        context = {
            "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            "host_name": socket.gethostname(),
            "executable": sys.argv[0],
            "num_cpus": os.cpu_count(),
            "load_avg": list(os.getloadavg()),
        }
        with open(self.options.benchmark_out, "w", encoding="utf-8") as file:
            json.dump({"context": context | self.context, "benchmarks": benchmarks}, file, indent=2)
            file.write("\n")

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.write()
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)
            if os.path.exists(self._place):
                # Directories that an ordinary user cannot enter are in the way.
                subprocess.run(["chmod", "-R", "u+rwX", self._place], stderr=subprocess.DEVNULL, check=False)
                shutil.rmtree(self._place, ignore_errors=True)
