# SPDX-License-Identifier: Apache-2.0
"""Text with figures: {{time("restage/strata/files:100000/layers:2")}} and the like.

A figure that is not in the results is an error: a text never stands there with a hole, or with an old number.
"""

import re

from . import charts, plots, tables
from .results import show_ratio, show_size, show_time
from .table import Table


# What the table of file systems shows: of the small size.
_ON_EACH = [
    ("stage again", "restage", ("strata", "cp_al", "cp_reflink"), "files:1000/layers:2"),
    ("first stage", "first_stage", ("strata", "strata_reflink", "cp_al", "cp_reflink", "cp_a"), "files:1000/layers:2"),
    ("compose 480 layers", "compose", ("strata", "bare_linkat"), "layers:480"),
    ("one of them changes", "recompose", ("strata",), "layers:480"),
    ("import 10,000 files", "import", ("strata", "tar_x"), "files:10000"),
    ("strata run", "run", ("strata", "strata_tmpfs", "bwrap"), "files:100000"),
    ("first write to 1,000 files", "first_write", ("strata", "plain"), "files:1000"),
    ("first write to 64 MB", "copy_up", ("strata", "unlinked"), "megabytes:64"),
]


class Figures:
    """What a template may say. The results are those of ext4, if it does not name others."""

    def __init__(self, results):
        self.results = results

    def case(self, name, fs="ext4"):
        case = self.results[fs].get(name)
        if case is None:
            raise ValueError(f"{name} was not measured on {fs}")
        return case

    def time(self, name, fs="ext4"):
        return show_time(self.case(name, fs).median)

    def ratio(self, name, baseline, fs="ext4"):
        return show_ratio(self.case(name, fs).median / self.case(baseline, fs).median)

    def size(self, name, counter, fs="ext4"):
        return show_size(self.case(name, fs).counter(counter))

    def per(self, name, count):
        """The time of one of `count` things that the case did."""
        return show_time(self.case(name).median / count)

    def kernel(self):
        """Without what its builder added."""
        return self.results["ext4"].machine["kernel"].split("-")[0]

    def filesystems(self):
        """Staging, import and start on each file system that there are results of."""
        kinds = [fs for fs in ("ext4", "xfs", "btrfs", "tmpfs") if fs + "-quick" in self.results]
        rows = []
        for what, suite, contenders, parameters in _ON_EACH:
            for contender in contenders:
                cases = [self.results[fs + "-quick"].get(f"{suite}/{contender}/{parameters}") for fs in kinds]
                rows.append([what, charts.name_of(contender), *(show_time(case.median) if case else "–" for case in cases)])
                what = ""
        return Table(2, kinds, rows).markdown()

    def suite(self, suite, fs="ext4"):
        return (f"**{suite.replace('_', ' ')}** (cached: {tables.cached_of(self.results[fs], suite)})\n\n"
                + tables.suite_table(self.results[fs], suite).markdown())

    def counters(self, suite, fs="ext4"):
        return tables.counter_table(self.results[fs], suite).markdown()

    def contract(self, fs="ext4"):
        return tables.contract_table(self.results[fs]).markdown()

    def plot(self, name):
        """All pictures that PLOTS has by this name."""
        pictures = charts.split(dict(plots.PLOTS)[name](self.results["ext4"]))
        return "\n\n".join(f"![{charts.label_of(svg)}](plots/{name}{f'-{number + 1}' if number else ''}.svg)"
                           for number, svg in enumerate(pictures))

    def machine(self, fs="ext4"):
        return tables.machine_line(self.results[fs])

    def versions(self):
        return tables.versions(self.results["ext4"])

    def left_out(self, fs="ext4"):
        return tables.left_out(self.results[fs])


def fill(path, results):
    figures = Figures(results)
    names = {name: getattr(figures, name) for name in dir(figures) if not name.startswith("_")}
    with open(path, encoding="utf-8") as file:
        text = file.read()

    def value(match):
        try:
            return str(eval(match.group(1), {"__builtins__": {}}, names))  # our own file, not input
        except Exception as error:
            raise SystemExit(f"{path}: {match.group(0)}: {error}") from error

    return re.sub(r"\{\{(.+?)\}\}", value, text)
