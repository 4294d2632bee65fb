# SPDX-License-Identifier: Apache-2.0
"""The performance contract: which figure is held against which, and what is accepted.

Ratios are of medians of one run. `accepted` is the least; `aim` is what strata wants to be known for.
"""

from .results import show_ratio, show_size, show_time


class Rule:
    """The subject's median divided by the baseline's; without a baseline, the subject's own."""

    def __init__(self, id, what, subject, baseline, accepted, aim, counter=None, show=show_ratio):
        self.id, self.what, self.subject, self.baseline = id, what, subject, baseline
        self.accepted, self.aim, self.counter, self.show = accepted, aim, counter, show


RULES = [
    Rule("P1", "strata run, against bwrap", "run/strata/files:100000", "run/bwrap/files:100000", 0.9, 0.75),
    Rule("P1", "the same, --scratch tmpfs", "run/strata_tmpfs/files:100000", "run/bwrap/files:100000", 0.75, 0.62),
    Rule("P2", "strata run, 1,000,000 files", "hit/strata/files:1000000/layers:2", "hit/strata/files:1000/layers:2", 1.2, 1),
    Rule("P2", "strata run, 2,000 layers", "hit/strata/files:1000000/layers:2000", "hit/strata/files:1000/layers:2", 1.2, 1),
    Rule("P3", "first stage, against cp -al", "first_stage/strata/files:100000/layers:2",
         "first_stage/cp_al/files:100000/layers:2", 1 / 20, 1 / 200),
    Rule("P3", "first stage, against bare linkat", "first_stage/strata/files:100000/layers:2",
         "first_stage/bare_linkat/files:100000/layers:2", 1 / 20, 1 / 200),
    Rule("P4", "cold walk of 480 layers", "cold_walk/strata/layers:480", "cold_walk/plain/layers:480", 3, 1.5),
    Rule("P4", "failing lookups in 480 layers", "cold_failing_lookups/strata/layers:480",
         "cold_failing_lookups/plain/layers:480", 5, 1.5),
    Rule("P5", "one of 480 layers changed", "recompose/strata/layers:480", "compose/strata/layers:480", 1 / 8, 1 / 30),
    Rule("P6", "import of 100,000 files, hashed", "import/strata/files:100000", "import/tar_x/files:100000", 1.25, 0.7),
    Rule("P7", "capture of 1,000 files", "capture/strata/files:100000", None, 100, 30, show=show_time),
    Rule("P7", "100,000 against 1,000 below", "capture/strata/files:100000", "capture/strata/files:1000", 1.2, 1),
    Rule("P8", "disk of each of 32 sandboxes", "memory/strata/sandboxes:32", None, 1024, 64, counter="disk_kb_each",
         show=show_size),
    Rule("P8", "memory of each of 32 sandboxes", "memory/strata/sandboxes:32", None, 2048, 1024,
         counter="memory_kb_each", show=show_size),
]


class Verdict:
    """`value` is None where something of the rule was not measured."""

    def __init__(self, rule, results):
        self.rule = rule
        self.subject, self.baseline = results.get(rule.subject), results.get(rule.baseline) if rule.baseline else None
        self.value = None
        if self.subject is None or (rule.baseline and self.baseline is None):
            return
        if rule.counter:
            self.value = max(self.subject.counter(rule.counter), 0.1)
        elif rule.baseline:
            self.value = self.subject.median / self.baseline.median
        else:
            self.value = self.subject.median

    @property
    def passed(self):
        return self.value is not None and self.value <= self.rule.accepted

    @property
    def word(self):
        if self.value is None:
            return "not measured"
        return "passes" if self.passed else "FAILS"


    def cells(self):
        """As people read it: the subject, the baseline, the value, what is accepted, the aim, the word."""
        rule = self.rule
        times = [show_time(case.median) if case and not rule.counter else "" for case in (self.subject, self.baseline)]
        value = rule.show(self.value) if self.value is not None else ""
        return [*times, value, rule.show(rule.accepted), rule.show(rule.aim), self.word]


def verdicts(results):
    return [Verdict(rule, results) for rule in RULES]


def print_verdicts(results, all_of_it=False):
    """False where one fails, or, with `all_of_it`, was not measured."""
    found = [verdict for verdict in verdicts(results) if all_of_it or verdict.value is not None]
    if found:
        print(f"{'':4}{'':36}{'strata':>10}{'baseline':>10}{'ratio':>10}{'accepted':>10}{'aim':>10}")
    for verdict in found:
        *figures, word = verdict.cells()
        print(f"{verdict.rule.id:4}{verdict.rule.what:36}" + "".join(f"{figure:>10}" for figure in figures) + f"  {word}")
    return all(verdict.passed for verdict in found)
