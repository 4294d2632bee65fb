# SPDX-License-Identifier: Apache-2.0
"""The plots of the report, each from a Results; '' where nothing of it was measured.

PLOTS is what the page and RESULTS.md show.
"""

from . import contract, tables
from .charts import Bar, Line, bar_chart, contract_chart, line_chart, name_of, steps_chart
from .results import show_ratio, show_size


def line_of(cases, contender, parameter, value=lambda case: (case.median, *case.quartiles)):
    return Line(contender, [(case.parameters[parameter], *value(case)) for case in cases
                            if case.contender == contender and parameter in case.parameters])


# In the tables, but not in the plots of staging: a dozen lines are enough.
_NOT_PLOTTED = ("strata_library", "strata_fuse", "strata_copy", "strata_reflink", "bare_overlay")


def lines_of(results, suite, parameter, leave_out=(), **fixed):
    cases = [case for case in results.select(suite, **fixed) if case.contender not in leave_out]
    lines = [line_of(cases, contender, parameter) for contender in dict.fromkeys(case.contender for case in cases)]
    return sorted(lines, key=lambda line: line.contender != "strata")


def bars_of(cases):
    return [Bar(case.contender, case.median, *case.quartiles) for case in sorted(cases, key=lambda case: case.median)]


def against(results, suite, contender, other="strata", **fixed):
    """'1/250 of cp -al' for what `other` is of `contender`, or ''."""
    found = {case.contender: case for case in results.select(suite, **fixed)}
    if contender not in found or other not in found:
        return ""
    return f"{show_ratio(found[other].median / found[contender].median)} of {name_of(contender)}"


def largest(results, suite, parameter):
    return max((case.parameters.get(parameter, 0) for case in results.select(suite)), default=0)


def contract_plot(results):
    return contract_chart("The performance contract", "Each bound is the dashed line; further left is better. ◆ is the aim.",
                          contract.verdicts(results))


def files_plot(results):
    files = largest(results, "restage", "files")
    finding = against(results, "restage", "cp_al", files=files)
    return line_chart("Stage again, for a rebuild",
                      "A base of 10,000 files and an artifact, at a directory; whole commands."
                      + (f" At {files:,} files strata takes {finding}." if finding else ""),
                      lines_of(results, "restage", "files", _NOT_PLOTTED), "files in the artifact")


def first_files_plot(results):
    files = largest(results, "first_stage", "files")
    finding = against(results, "first_stage", "cp_al", files=files)
    return line_chart("The first stage of a set", "The inputs are in the store; this set of them was never staged."
                      + (f" At {files:,} files strata takes {finding}." if finding else ""),
                      lines_of(results, "first_stage", "files", _NOT_PLOTTED), "files in the artifact")


def layers_plot(results):
    return line_chart("Time against layers, first stage", "Layers of 50 files, most of them in directories that all share. Above 8 layers strata merges directories once;\n"
                      "that costs about what linking the files costs, and a rebuild does not pay it again (next plot).",
                      lines_of(results, "first_stage_layers", "layers", _NOT_PLOTTED), "layers")


def restage_layers_plot(results):
    return line_chart("Time against layers, rebuild", "The same sets, staged again.",
                      lines_of(results, "restage_layers", "layers", _NOT_PLOTTED), "layers")


def rebuild_plot(results):
    cases = results.select("rebuild")
    files = largest(results, "rebuild", "files")
    return bar_chart("A whole rebuild", f"A Debian root and {files:,} files are staged, one command runs in a sandbox, and what it made is kept.",
                     bars_of([case for case in cases if case.contender != "strata_tmpfs"]))


def unstage_plots(results):
    plots = []
    for suite, title, note in (("unstage", "Getting rid of what was staged", "Nobody looked at it."),
                               ("unstage_used", "Getting rid of it after use", "Every file of it was looked at: the kernel has an inode to free for each.")):
        files = largest(results, suite, "files")
        cases = [case for case in results.select(suite, files=files) if case.contender not in ("bare_overlay",)]
        plots.append(bar_chart(f"{title}: {files:,} files", note, bars_of(cases)))
    return "".join(plots)


def start_plot(results):
    steps = results.select("start")
    return steps_chart("Where the time of a start goes", "What each step adds to spawning /bin/true; medians of interleaved runs.",
                       [(name_of(case.contender), case.median) for case in steps])


def run_plot(results):
    return bar_chart("/bin/true in a sandbox, whole process", "bwrap binds a directory and stages nothing; strata stacks a Debian root and 100,000 files, writable.",
                     bars_of(results.select("run")))


def compose_plot(results):
    lines = lines_of(results, "compose", "layers") + [
        Line("recompose", line.points, "one layer changed") for line in lines_of(results, "recompose", "layers")
        if line.contender == "strata"]
    return line_chart("Composing", "In process: the root of many layers from nothing, after one of them changed, and linking their files.",
                      lines, "layers")


def inside_plots(results):
    plots = []
    for suite, title in (("cold_walk", "Walking the whole root, cold"), ("cold_failing_lookups", "20,000 lookups of names that are not there, cold"),
                         ("cold_read", "Reading 9,600 headers, cold"), ("compile", "gcc with 400 headers, in a fresh root")):
        cases = results.select(suite, layers=480)
        plain = next((case.median for case in cases if case.contender == "plain"), None)
        plots.append(bar_chart(title, "480 layers of 50 files. The dashed line is one plain directory.", bars_of(cases), base=plain))
    return "".join(plots)


def losses_plots(results):
    plots = []
    for suite, title in (("first_write", "First write to 1,000 files"), ("copy_up", "First write to a large file"),
                         ("rename_directory", "mv of a directory with 1,000 files"),
                         ("remove_directory", "rm -r of a directory with 1,000 files")):
        cases = results.select(suite)
        note = f"What came from a layer; {tables.parameters_of(cases[0])}." if cases else ""
        plots.append(bar_chart(title, note, bars_of(cases)))
    return "".join(plots)


def import_plot(results):
    return line_chart("Import of a tar", "strata hashes each file; tar -x only writes them.",
                      lines_of(results, "import", "files", ("strata_library",)), "files")


def capture_plot(results):
    files = largest(results, "capture", "files")
    return bar_chart("Keeping what a build made: 1,000 new files", f"over a root of {files:,}",
                     bars_of([case for case in results.select("capture", files=files) if case.contender != "strata_run"]))


def memory_plot(results):
    cases = [case for case in results.select("memory") if "memory_kb" in case.counters]
    contenders = [name for name in dict.fromkeys(case.contender for case in cases) if name not in ("strata_tmpfs", "strata_read_only")]
    lines = [line_of(cases, contender, "sandboxes", lambda case: (case.counter("memory_kb") / 1024,) * 3) for contender in contenders]
    return line_chart("Memory against sandboxes", "One root of 640 MB, used by each; processes, page cache and kernel memory, counted.",
                      lines, "sandboxes at once", lambda megabytes: f"{megabytes:,.0f} MB")


def disk_plot(results):
    cases = [case for case in results.select("memory", sandboxes=32) if "disk_kb_each" in case.counters]
    cases.sort(key=lambda case: case.counter("disk_kb_each"))
    return bar_chart("Disk for each sandbox beyond the first", "32 at once",
                     [Bar(case.contender, max(case.counter("disk_kb_each"), 0)) for case in cases], show_size)


# name, function
PLOTS = [
    ("contract", contract_plot),
    ("restage", files_plot),
    ("first-stage", first_files_plot),
    ("layers", layers_plot),
    ("restage-layers", restage_layers_plot),
    ("rebuild", rebuild_plot),
    ("unstage", unstage_plots),
    ("run", run_plot),
    ("start", start_plot),
    ("compose", compose_plot),
    ("inside", inside_plots),
    ("losses", losses_plots),
    ("import", import_plot),
    ("capture", capture_plot),
    ("memory", memory_plot),
    ("disk", disk_plot),
]
