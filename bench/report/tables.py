# SPDX-License-Identifier: Apache-2.0
"""The figures as tables, and what is said around them."""

from . import contract
from .charts import name_of
from .results import show_size, show_time
from .table import Cell, Table


def contract_table(results):
    rows = []
    for verdict in contract.verdicts(results):
        measured, baseline, value, accepted, aim, word = verdict.cells()
        ratio = value if verdict.rule.baseline else ""
        passed = Cell(word, kind="good" if verdict.passed else "bad")
        rows.append([verdict.rule.id, verdict.rule.what, measured or value, baseline, ratio, accepted, aim, passed])
    return Table(2, ["measured", "baseline", "ratio", "accepted", "aim", ""], rows)


def show_counter(name, value):
    return show_size(value) if "_kb" in name else f"{value:,.4g}"


def parameters_of(case):
    return ", ".join(f"{value:,} {key}" if isinstance(value, int) else f"{key} {value}" for key, value in case.parameters.items())


def suite_table(results, suite):
    """One row a contender, one column for each set of parameters."""
    cases = results.select(suite)
    columns = list(dict.fromkeys(parameters_of(case) for case in cases))
    cells = {}
    for case in cases:
        low, high = case.quartiles
        note = f"{show_time(low)} – {show_time(high)}, {len(case.times)}"
        cells.setdefault(case.contender, {})[parameters_of(case)] = Cell(show_time(case.median), note)
    return Table(1, columns, [[name_of(contender), *(of.get(column, "") for column in columns)] for contender, of in cells.items()])


def counter_table(results, suite):
    """One row a case; None where no case of the suite counts anything."""
    cases = [case for case in results.select(suite) if case.counters]
    names = list(dict.fromkeys(name for case in cases for name in case.counters))
    rows = []
    for case in cases:
        cells = [show_counter(name, case.counter(name)) if name in case.counters else "" for name in names]
        rows.append([name_of(case.contender), parameters_of(case), *cells])
    return Table(2, [name.replace("_kb", "").replace("_", " ") for name in names], rows) if rows else None


def cached_of(results, suite):
    """What is cached, as the suite's cases say it: that of most contenders first, then the exceptions."""
    by_label = {}
    for case in results.select(suite):
        names = by_label.setdefault(case.cached or "nothing said", [])
        if name_of(case.contender) not in names:
            names.append(name_of(case.contender))
    parts = sorted(by_label.items(), key=lambda part: -len(part[1]))
    return ". ".join([parts[0][0]] + [f"{', '.join(names)}: {label}" for label, names in parts[1:]]) if parts else ""


def machine_line(results):
    machine = results.machine
    return (f"{machine.get('cpus', '?')} × {machine.get('cpu', '?')}, {machine.get('memory_gb', '?')} GB, Linux {machine.get('kernel', '?')}, "
            f"{machine.get('fs', '?')}, {machine.get('date', '?')}, size {machine.get('size', '?')}")


def reasons(entries):
    """{reason: 'contender (suite, suite)'}: a peer that is missing is missing everywhere."""
    found = {}
    for entry in entries:
        suite, _, rest = entry["name"].partition("/")
        suites = found.setdefault((entry["why"], rest.partition("/")[0]), [])
        if suite not in suites:
            suites.append(suite)
    by_reason = {}
    for (why, contender), suites in found.items():
        name = f"{name_of(contender)} ({', '.join(suites)})" if contender else suites[0]
        by_reason.setdefault(why, []).append(name)
    return {why: "; ".join(names) for why, names in by_reason.items()}


def left_out(results):
    out = [f"* {names}: {why}" for why, names in reasons(results.missing).items()]
    out += [f"* failed: {names}: {why}" for why, names in reasons(results.failed).items()]
    return "\n".join(out) or "Nothing: all contenders ran."


def versions(results):
    return "\n".join(f"* {name}: {version}" for name, version in results.machine.get("versions", {}).items())


def markdown(results):
    """All of it: results.md."""
    out = ["# Benchmark results", machine_line(results), "Medians; below them the quartiles and the number of repetitions.",
           "## Contract", contract_table(results).markdown()]
    for suite in dict.fromkeys(case.suite for case in results.cases.values()):
        if not results.select(suite):
            continue
        out += [f"## {suite}", f"Cached: {cached_of(results, suite)}.", suite_table(results, suite).markdown()]
        counters = counter_table(results, suite)
        if counters:
            out.append(counters.markdown())
    out += ["## Left out", left_out(results), "## Versions", versions(results)]
    return "\n\n".join(out) + "\n"
