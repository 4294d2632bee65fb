# SPDX-License-Identifier: Apache-2.0
"""The report as one HTML page: no script, no other file, light or dark as the reader has it."""

from html import escape

from . import contract, plots, tables
from .charts import STYLE
from .results import show_ratio, show_size, show_time

_CSS = """
:root { color-scheme: light dark; --ink: #1b1f2a; --soft: #667085; --paper: #ffffff; --band: #f5f6f9; --rule: #e6e8ee; --accent: #1d4ed8; --good: #15803d; --bad: #c81e1e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7e9ef; --soft: #98a2b3; --paper: #12151c; --band: #191d26; --rule: #2a303c; --accent: #7aa7ff; --good: #4ade80; --bad: #f87171; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main, header > div, footer > div { max-width: 940px; margin: 0 auto; padding: 0 40px; }
header { background: var(--band); border-bottom: 1px solid var(--rule); padding: 44px 0 36px; }
h1 { font-size: 32px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -.01em; } h2 { font-size: 23px; margin: 64px 0 6px; letter-spacing: -.005em; }
p { margin: 8px 0 16px; max-width: 72ch; } .soft { color: var(--soft); } a { color: var(--accent); }
nav a { margin-right: 16px; white-space: nowrap; text-decoration: none; } nav { margin-top: 20px; line-height: 1.9; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 14px; margin-top: 26px; }
.card { background: var(--paper); border: 1px solid var(--rule); border-radius: 10px; padding: 16px 18px; }
.card b { display: block; font-size: 27px; line-height: 1.2; color: var(--accent); letter-spacing: -.01em; } .card span { font-size: 14px; color: var(--soft); display: block; margin-top: 4px; line-height: 1.4; }
svg.chart { display: block; width: 100%; height: auto; margin: 22px 0 30px; overflow: visible; }
details { margin: 0 0 18px; border-top: 1px solid var(--rule); padding-top: 10px; } summary { cursor: pointer; color: var(--accent); font-size: 14px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13.5px; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 12px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; white-space: nowrap; } th.name, td.name { text-align: left; }
td small { display: block; color: var(--soft); font-size: 11.5px; } td.good { color: var(--good); } td.bad { color: var(--bad); font-weight: 650; }
footer { border-top: 1px solid var(--rule); margin-top: 72px; padding: 26px 0 60px; font-size: 14px; color: var(--soft); }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
"""

# heading, what the reader should know, plots, suites whose figures stand below
SECTIONS = [
    ("The contract", "What strata promises, each against a baseline that was measured in the same run.", ["contract"], []),
    ("A rebuild", "The case that strata was made for: a build ran before, its command changed, and the same dependencies are staged again. "
     "strata finds the composed root in its cache, and mounts it. A tool that links or copies does its whole job again, "
     "because the build before wrote into what it had staged.", ["restage", "rebuild"], ["restage", "rebuild", "rebuild_staging", "clean_up"]),
    ("The first time", "Nobody has staged this set of layers before, but the layers are in the store.", ["first-stage"], ["first_stage", "first_build", "first_build_staging", "build_import"]),
    ("Many layers", "", ["layers", "restage-layers", "compose"], ["first_stage_layers", "restage_layers", "compose", "recompose", "analyse", "analyse_cold"]),
    ("Cleaning up", "", ["unstage"], ["unstage", "unstage_used"]),
    ("The start of a sandbox", "", ["run", "start"], ["run", "hit", "start", "binds"]),
    ("Working in the root", "An overlay of a few directories is close to a plain one. Files that are open cost what they cost elsewhere; what differs is finding them.",
     ["inside"], ["cold_walk", "warm_walk", "cold_lookups", "warm_lookups", "cold_failing_lookups", "warm_failing_lookups", "cold_read", "warm_read", "compile"]),
    ("Where overlay loses", "Writing to what came from a layer copies it first, and a directory of a layer cannot simply be renamed. "
     "A tree of hardlinks does these at once (and writes into everybody's files where it is not careful).", ["losses"],
     ["first_write", "copy_up", "rename_directory", "remove_directory"]),
    ("In and out of the store", "", ["import", "capture"], ["import", "import_tiny", "import_large", "import_directory", "capture", "hash", "hash_files"]),
    ("Memory and disk", "Sandboxes on one root share its pages, because they share its inodes. Copies share nothing.", ["memory", "disk"], ["memory", "memory_many_files"]),
]


def cards(results):
    """The figures to remember."""
    found = []
    files = plots.largest(results, "restage", "files")
    staged = {case.contender: case for case in results.select("restage", files=files)}
    if "strata" in staged:
        text = f"to stage {files + 10000:,} files for a rebuild"
        if "cp_al" in staged:
            text += f"; cp -al takes {show_time(staged['cp_al'].median)}"
        found.append((show_time(staged["strata"].median), text))
    rebuilds = {case.contender: case for case in results.select("rebuild")}
    if "strata" in rebuilds and "buildstream" in rebuilds:
        found.append((show_time(rebuilds["strata"].median), f"for a whole rebuild; BuildStream takes {show_time(rebuilds['buildstream'].median)}"))
    values = {verdict.rule.what: verdict for verdict in contract.verdicts(results) if verdict.value is not None}
    if "strata run, against bwrap" in values:
        found.append((show_ratio(values["strata run, against bwrap"].value), "the time of bwrap, for a sandbox with a staged, writable root"))
    if "memory of each of 32 sandboxes" in values:
        found.append((show_size(values["memory of each of 32 sandboxes"].value), "of memory for each further sandbox on the same root of 640 MB"))
    return "".join(f'<div class="card"><b>{escape(big)}</b><span>{escape(text)}</span></div>' for big, text in found)


def suite_figures(results, suite):
    counters = tables.counter_table(results, suite)
    return (f'<p class="soft"><b>{escape(suite.replace("_", " "))}</b> · cached: {escape(tables.cached_of(results, suite) or "–")}</p>'
            + tables.suite_table(results, suite).html() + (counters.html() if counters else ""))


def section(results, number, heading, text, plot_names, suites, functions):
    pictures = "".join(functions[name](results) for name in plot_names)
    suites = [suite for suite in suites if results.select(suite)]
    if not pictures and not suites:
        return ""
    figures = "".join(suite_figures(results, suite) for suite in suites)
    out = f'<h2 id="s{number}">{escape(heading)}</h2>' + (f"<p>{text}</p>" if text else "") + pictures
    if plot_names == ["contract"]:
        out += tables.contract_table(results).html()
    if figures:
        out += f"<details><summary>All figures: medians, quartiles, repetitions, what is cached</summary>{figures}</details>"
    return out


def html(results):
    functions = dict(plots.PLOTS)
    body, links = "", ""
    for number, (heading, text, plot_names, suites) in enumerate(SECTIONS):
        part = section(results, number, heading, text, plot_names, suites, functions)
        body += part
        if part:
            links += f'<a href="#s{number}">{escape(heading)}</a> '
    left_out = "".join(f"<li>{escape(names)}: {escape(why)}</li>" for entries in (results.missing, results.failed)
                       for why, names in tables.reasons(entries).items())
    versions = " · ".join(escape(version) for version in results.machine.get("versions", {}).values())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>strata: benchmark results</title><style>{_CSS}{STYLE}</style></head><body>
<header><div><h1>Overlay against hardlink staging</h1>
<p>strata stages build dependencies with overlayfs, without copying or linking a file. This is what that costs, and what other tools take for the same job on the same machine, interleaved in the same run.</p>
<div class="cards">{cards(results)}</div>
<p class="soft" style="margin-top:24px">{escape(tables.machine_line(results))}. Medians; lines over bars and points are the middle half of the repetitions.</p>
<nav>{links}</nav></div></header>
<main>{body}
<h2>Left out</h2><p class="soft">Contenders that could not run here, or failed, and why.</p><ul>{left_out or "<li>None: all ran.</li>"}</ul>
</main><footer><div>{versions}<br>Made by <code>bench/run</code>; the raw times are in <code>results.json</code>.</div></footer></body></html>
"""
