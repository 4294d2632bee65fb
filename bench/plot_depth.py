#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws what bench_depth measured, and prints its table for DEPTH.md.

    bench/plot_depth.py build/bench-results/results.json bench/depth.svg
"""

import math
import sys
from html import escape

from report.results import Results

WIDTH = 920
LIGHT = {"ink": "#1f2430", "soft": "#6b7280", "grid": "#e5e7eb", "paper": "#ffffff", "band": "#eef1f6",
         "lines": ["#2563eb", "#dc2626", "#c2740a", "#0d9488", "#7c3aed"]}
DARK = {"ink": "#e6e8ee", "soft": "#9aa3b2", "grid": "#2b313d", "paper": "#14171f", "band": "#1e2430",
        "lines": ["#6ea8fe", "#ff7b72", "#f2b155", "#4fd1bd", "#b794f6"]}


def rules(c):
    """No variables: many viewers of SVG know none."""
    text = (f"text{{fill:{c['ink']}}} .paper{{fill:{c['paper']}}} .band{{fill:{c['band']}}} "
            f".note,.tick{{fill:{c['soft']}}} .grid{{stroke:{c['grid']}}} .mark{{stroke:{c['soft']}}}")
    for i, color in enumerate(c["lines"]):
        text += f" .s{i}{{stroke:{color}}} .d{i},.t{i}{{fill:{color}}}"
    return text


STYLE = f"""
text {{ font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.title {{ font-size: 17px; font-weight: 600; }} .tick {{ font-size: 12px; }} .label {{ font-weight: 600; }}
.mark {{ stroke-width: 1.5; stroke-dasharray: 4 4; }}
.line {{ fill: none; stroke-width: 2.5; stroke-linejoin: round; stroke-linecap: round; }}
{rules(LIGHT)}
@media (prefers-color-scheme: dark) {{ {rules(DARK)} }}
"""


def read_medians(path):
    """{name: {depth, or part that changed: milliseconds}}"""
    times = {}
    for case in Results.read(path).cases.values():
        if not case.suite.startswith("depth_"):
            continue
        name = case.contender if case.suite == "depth_change" else case.suite.removeprefix("depth_")
        (argument,) = case.parameters.values()
        times.setdefault(name, {})[argument] = case.median
    return {name: dict(sorted(by.items())) for name, by in times.items()}


class Panel:
    """One chart. `xs` and `ys` are (lowest, highest); both scales are logarithmic."""

    left, right = 78, 230

    def __init__(self, top, height, title, note, xs, ys):
        self.top, self.height, self.xs, self.ys = top, height, xs, ys
        self.out = [f'<text class="title" x="{self.left}" y="{top - 34}">{escape(title)}</text>',
                    f'<text class="note" x="{self.left}" y="{top - 14}">{escape(note)}</text>']
        self.labels = []

    def x(self, value):
        low, high = map(math.log, self.xs)
        return self.left + (math.log(value) - low) / (high - low) * (WIDTH - self.left - self.right)

    def y(self, value):
        low, high = map(math.log, self.ys)
        return self.top + self.height - (math.log(value) - low) / (high - low) * self.height

    def axes(self, x_ticks, y_ticks, x_label, y_label):
        end = WIDTH - self.right
        for value, text in y_ticks:
            y = self.y(value)
            self.out.append(f'<line class="grid" x1="{self.left}" x2="{end}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.out.append(f'<text class="tick" x="{self.left - 9}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        bottom = self.top + self.height
        for value, text in x_ticks:
            self.out.append(f'<text class="tick" x="{self.x(value):.1f}" y="{bottom + 19}" text-anchor="middle">{text}</text>')
        self.out.append(f'<text class="note" x="{(self.left + end) / 2:.0f}" y="{bottom + 41}" text-anchor="middle">{escape(x_label)}</text>')
        self.out.append(f'<text class="note" transform="translate(20 {self.top + self.height / 2:.0f}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>')

    def band(self, low, high, text):
        x = self.x(low)
        self.out.append(f'<rect class="band" x="{x:.1f}" y="{self.top}" width="{self.x(high) - x:.1f}" height="{self.height}"/>')
        self.out.append(f'<text class="note" x="{x + 6:.1f}" y="{self.top + 18}">{escape(text)}</text>')

    def mark(self, value, text):
        x = self.x(value)
        self.out.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{self.top}" y2="{self.top + self.height}"/>')
        self.out.append(f'<text class="note" x="{x + 6:.1f}" y="{self.top + 18}">{escape(text)}</text>')

    def line(self, points, label, color):
        places = [(self.x(a), self.y(b)) for a, b in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self.out.append(f'<polyline class="line s{color}" points="{path}"/>')
        for (x, y), (a, b) in zip(places, points):
            self.out.append(f'<circle class="d{color}" cx="{x:.1f}" cy="{y:.1f}" r="3.5">'
                            f"<title>{escape(label)}: {b:.3g} at {a:.3g}</title></circle>")
        self.labels.append([places[-1][1], label, color])

    def finish(self):
        last = -math.inf
        for y, label, color in sorted(self.labels):
            last = max(y, last + 17)
            self.out.append(f'<text class="label t{color}" x="{WIDTH - self.right + 12}" y="{last + 4:.1f}">{escape(label)}</text>')
        return "\n".join(self.out)


def use_panel(times, top):
    plain = {name: by[0] for name, by in times.items() if 0 in by}
    panel = Panel(top, 300, "What depth costs those who use the root",
                  "480 layers, most of their files in shared directories; times against one plain directory",
                  (1, 480), (0.8, 500))
    panel.mark(1, "a segment")
    panel.mark(8, "longest chain mounted as it is")
    panel.axes([(d, str(d)) for d in (1, 2, 4, 8, 16, 32, 60, 120, 240, 480)],
               [(v, f"{v} ×") for v in (1, 2, 5, 10, 20, 50, 100, 200, 500)],
               "lower layers mounted", "times a plain directory")
    lines = [("cold_lookups", "failing lookups, cold", 1), ("warm_lookups", "failing lookups, warm", 2),
             ("cold_walk", "walk, cold", 0), ("cold_includes", "include search, cold", 3),
             ("warm_walk", "walk, warm", 4)]
    for name, label, color in lines:
        panel.line([(d, max(t / plain[name], 0.8)) for d, t in times[name].items() if d > 0], label, color)
    return panel.finish()


def compose_panel(times, top):
    panel = Panel(top, 190, "What depth costs to make", "nothing cached; and a mount of what is",
                  (1, 480), (0.1, 1000))
    panel.axes([(d, str(d)) for d in (1, 2, 4, 8, 16, 32, 60, 120, 240, 480)],
               [(0.1, "0.1 ms"), (1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s")],
               "lower layers mounted", "time")
    panel.line(list(times["compose"].items()), "first compose", 0)
    panel.line(list(times["mount"].items()), "mount and unmount", 3)
    return panel.finish()


def delta_panel(times, top):
    panel = Panel(top, 230, "A delta, or segments anew", "some of the 480 layers change in all their files",
                  (1 / 480, 0.5), (3, 600))
    panel.mark(1 / 4, "bound for deltas")
    panel.axes([(1 / d, "1/" + str(d) if d > 1 else "1") for d in (480, 64, 32, 16, 8, 4, 2)],
               [(v, f"{v} ms") for v in (5, 10, 20, 50, 100, 200, 500)],
               "part of the layers that changed", "time to compose")
    lines = [("segments", "segments, spread changes", 1), ("segments_on_top", "segments, changes on top", 2),
             ("delta", "a delta", 0)]
    for name, label, color in lines:
        panel.line([(1 / part, t) for part, t in sorted(times[name].items(), reverse=True)], label, color)
    return panel.finish()


def table(times):
    names = ["compose", "mount", "cold_walk", "warm_walk", "cold_lookups", "warm_lookups", "cold_includes"]
    print("| depth |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    for depth in sorted(times["cold_walk"]):
        cells = []
        for name in names:
            t = times[name].get(depth)
            if depth == 0 and name in ("compose", "mount"):
                t = None
            ratio = f" ({t / times[name][0]:.1f} ×)" if t and depth > 0 and 0 in times[name] and name != "mount" else ""
            cells.append("" if t is None else f"{t:.3g}{ratio}")
        print(f"| {depth or 'plain'} |", " | ".join(cells), "|")
    names = ["delta", "segments", "segments_on_top"]
    print("\n| changed |", " | ".join(names), "|\n|---|" + "---|" * len(names))
    for part in sorted(times["delta"], reverse=True):
        print(f"| 1/{part} |", " | ".join(f"{times[name][part]:.3g}" for name in names), "|")


def main():
    times = read_medians(sys.argv[1])
    height = 1110
    body = "\n".join([use_panel(times, 70), compose_panel(times, 500), delta_panel(times, 820)])
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
                   f'aria-label="Cost of the number of mounted layers">\n<style>{STYLE}</style>\n'
                   f'<rect class="paper" width="100%" height="100%"/>\n{body}\n</svg>\n')
    table(times)


if __name__ == "__main__":
    main()
