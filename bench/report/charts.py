# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG: lines over logarithmic scales, bars, steps, and how far the contract's bounds are.

Colours are classes, so that a page and a picture of its own follow the reader's light or dark scheme.
"""

import math
from html import escape

from .results import show_time

WIDTH = 860
LIGHT = {"ink": "#1b1f2a", "soft": "#667085", "grid": "#e6e8ee", "paper": "#ffffff", "bar": "#c3cad6",
         "good": "#15803d", "bad": "#c81e1e",
         "lines": ["#1d4ed8", "#c2410c", "#0f766e", "#7e22ce", "#a16207", "#be185d", "#4d7c0f", "#475569", "#0369a1", "#9f1239"]}
DARK = {"ink": "#e7e9ef", "soft": "#98a2b3", "grid": "#2a303c", "paper": "#12151c", "bar": "#465064",
        "good": "#4ade80", "bad": "#f87171",
        "lines": ["#7aa7ff", "#fb923c", "#2dd4bf", "#c084fc", "#facc15", "#f472b6", "#a3e635", "#94a3b8", "#38bdf8", "#fb7185"]}


def _rules(colors):
    text = (f".chart text{{fill:{colors['ink']}}} .chart .paper{{fill:{colors['paper']}}} "
            f".chart .soft{{fill:{colors['soft']}}} .chart .grid{{stroke:{colors['grid']}}} "
            f".chart .mark{{stroke:{colors['soft']}}} .chart .bar{{fill:{colors['bar']}}} "
            f".chart .good{{fill:{colors['good']}}} .chart .bad{{fill:{colors['bad']}}} "
            f".chart .spread{{stroke:{colors['ink']}}} ")
    for i, color in enumerate(colors["lines"]):
        text += f".chart .s{i}{{stroke:{color}}} .chart .f{i}{{fill:{color}}} "
    return text


STYLE = f"""
.chart text {{ font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }}
.chart .title {{ font-size: 17px; font-weight: 650; }} .chart .tick {{ font-size: 12px; }} .chart .strong {{ font-weight: 650; }}
.chart .line {{ fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }}
.chart .ours {{ stroke-width: 3.4; }}
.chart .spread {{ stroke-width: 1; opacity: .55; }} .chart .mark {{ stroke-width: 1.5; stroke-dasharray: 4 4; }}
{_rules(LIGHT)}
@media (prefers-color-scheme: dark) {{ {_rules(DARK)} }}
"""

# Our own contenders come first, with the accent; a contender has the same colour in all charts.
NAMES = {
    "strata": "strata", "strata_tmpfs": "strata (tmpfs scratch)", "strata_read_only": "strata (read-only)",
    "strata_library": "strata (in process)", "strata_bwrap": "strata-bwrap", "strata_hardlink": "strata (hardlinks)",
    "strata_reflink": "strata (reflinks)", "strata_copy": "strata (copies)", "strata_fuse": "strata (FUSE)",
    "bare_linkat": "bare linkat(2)", "cp_al": "cp -al", "cp_a": "cp -a", "cp_as": "cp -as (symlinks)",
    "cp_reflink": "cp --reflink", "rsync_link_dest": "rsync --link-dest", "tar_x": "tar -x",
    "fuse_overlayfs": "fuse-overlayfs", "ostree_checkout": "ostree checkout -H", "ostree_commit": "ostree commit",
    "plain": "one plain directory", "hardlinks": "hardlinks", "symlinks": "symlinks", "unlinked": "hardlinks (broken first)",
    "bare_overlay": "bare mount(2)", "tmpfs_copy": "cp -a into a tmpfs", "no_sandbox": "no sandbox at all",
    "strata_run": "strata run --capture", "strata_named": "strata (root by name)", "strata_without_deltas": "strata (no deltas)",
    "strata_overlaps": "strata overlaps", "tar_c": "tar -c", "openssl": "openssl dgst",
    "bwrap": "bwrap", "buildstream": "BuildStream 1.6.8", "strata_bst": "strata-bst", "podman": "podman", "buildah": "buildah",
}
_COLORS = {"strata": 0, "cp_al": 1, "bare_linkat": 2, "fuse_overlayfs": 3, "tar_x": 4, "ostree_checkout": 5,
           "rsync_link_dest": 6, "cp_a": 7, "strata_hardlink": 8, "cp_as": 9,
           "tmpfs_copy": 3, "bwrap": 2}


def name_of(contender):
    return NAMES.get(contender, contender.replace("_", " "))


def picture(svg_body, height, label):
    return (f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{escape(label)}">{svg_body}</svg>\n')


def standalone(svg):
    """For a file of its own: with the style, on paper."""
    start = svg.index(">") + 1
    return f'{svg[:start]}\n<style>{STYLE}</style>\n<rect class="paper" width="100%" height="100%"/>\n{svg[start:]}'


def _head(title, note):
    out = [f'<text class="title" x="0" y="20">{escape(title)}</text>']
    for i, line in enumerate(note.split("\n")):
        out.append(f'<text class="soft" x="0" y="{42 + 18 * i}">{escape(line)}</text>')
    return out, 42 + 18 * note.count("\n")


def _decades(low, high):
    ticks = [10.0 ** power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    return [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]


class Line:
    """`points` are (x, median, low, high)."""

    def __init__(self, contender, points, label=None):
        self.contender, self.points, self.label = contender, sorted(points), label or name_of(contender)


def line_chart(title, note, lines, x_label, show_y=show_time, height=340):
    """Both scales are logarithmic; the lines' names stand at their ends."""
    out, top = _head(title, note)
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    top += 22
    left, right = 66, 178
    xs = sorted({point[0] for line in lines for point in line.points})
    if len(xs) == 1:
        bars = sorted((Bar(line.contender, *line.points[0][1:], label=line.label) for line in lines), key=lambda bar: bar.value)
        return bar_chart(title, f"{note}\n{xs[0]:,} {x_label}.", bars, show_y)
    lowest = min(point[2] for line in lines for point in line.points)
    highest = max(point[3] for line in lines for point in line.points)
    y_low, y_high = 10 ** math.floor(math.log10(lowest)), 10 ** math.ceil(math.log10(highest * 1.001))

    def x_of(value):
        span = math.log(xs[-1] / xs[0]) or 1
        return left + math.log(value / xs[0]) / span * (WIDTH - left - right)

    def y_of(value):
        return top + height - math.log(value / y_low) / math.log(y_high / y_low) * height

    for tick in _decades(y_low, y_high):
        out.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y_of(tick):.1f}" y2="{y_of(tick):.1f}"/>'
                   f'<text class="tick soft" x="{left - 8}" y="{y_of(tick) + 4:.1f}" text-anchor="end">{show_y(tick)}</text>')
    for x in xs:
        out.append(f'<text class="tick soft" x="{x_of(x):.1f}" y="{top + height + 20}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text class="soft" x="{(left + WIDTH - right) / 2:.0f}" y="{top + height + 42}" text-anchor="middle">{escape(x_label)}</text>')
    ends = []
    for number, line in enumerate(reversed(lines)):  # the first one on top
        color = _COLORS.get(line.contender, 7 - number % 4)
        ours = " ours" if line.contender == "strata" else ""
        path = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y, _, _ in line.points)
        out.append(f'<polyline class="line s{color}{ours}" points="{path}"/>')
        for x, y, low, high in line.points:
            out.append(f'<line class="s{color}" stroke-width="1.2" opacity=".6" x1="{x_of(x):.1f}" x2="{x_of(x):.1f}" y1="{y_of(low):.1f}" y2="{y_of(high):.1f}"/>'
                       f'<circle class="f{color}" cx="{x_of(x):.1f}" cy="{y_of(y):.1f}" r="{4.5 if ours else 3.2}">'
                       f'<title>{escape(line.label)}, {x:,}: {show_y(y)} ({show_y(low)} to {show_y(high)})</title></circle>')
        x, y = line.points[-1][:2]
        ends.append((y_of(y), x_of(x), line.label, color, bool(ours)))
    # Where lines end at the same x their names are moved apart.
    lowest = {}
    for y, x, label, color, ours in sorted(ends):
        place = lowest[x] = max(y, lowest.get(x, -math.inf) + 17)
        out.append(f'<text class="f{color}{" strong" if ours else ""}" x="{x + 12:.1f}" y="{place + 4:.1f}">{escape(label)}</text>')
    bottom = max(top + height + 52, *(place + 14 for place in lowest.values()))
    return picture("\n".join(out), bottom, title)


class Bar:
    def __init__(self, contender, value, low=None, high=None, label=None, text=None):
        self.contender, self.value, self.low, self.high = contender, value, low, high
        self.label, self.text = label or name_of(contender), text


def bar_chart(title, note, bars, show=show_time, base=None, label_width=190):
    """Linear, from 0. `base`: a value that a line marks."""
    bars = [bar for bar in bars if bar is not None]
    if not bars:
        return ""
    out, top = _head(title, note)
    top += 16
    right = 150
    highest = max(max(bar.value, bar.high or 0) for bar in bars) or 1

    def x_of(value):
        return label_width + value / highest * (WIDTH - label_width - right)

    for row, bar in enumerate(bars):
        y = top + row * 27
        ours = bar.contender.startswith("strata")
        middle = y + 14
        out.append(f'<text class="{"strong" if ours else ""}" x="{label_width - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>'
                   f'<rect class="{"f0" if ours else "bar"}" x="{label_width}" y="{y + 4}" width="{max(x_of(bar.value) - label_width, 1.5):.1f}" height="20" rx="2"/>')
        end = x_of(bar.value)
        if bar.low is not None and bar.high is not None and x_of(bar.high) - x_of(bar.low) > 3:
            out.append(f'<line class="spread" x1="{x_of(bar.low):.1f}" x2="{x_of(bar.high):.1f}" y1="{middle}" y2="{middle}"/>')
            end = max(end, x_of(bar.high))
        out.append(f'<text class="{"strong" if ours else "soft"}" x="{end + 8:.1f}" y="{middle + 4}">{escape(bar.text or show(bar.value))}</text>')
    bottom = top + len(bars) * 27
    if base is not None:
        out.append(f'<line class="mark" x1="{x_of(base):.1f}" x2="{x_of(base):.1f}" y1="{top}" y2="{bottom + 4}"/>')
    return picture("\n".join(out), bottom + 10, title)


def steps_chart(title, note, steps):
    """What each step adds: `steps` are (name, time from the beginning to after it)."""
    if not steps:
        return ""
    out, top = _head(title, note)
    top += 16
    left, right = 250, 130
    highest = max(time for _, time in steps)

    def x_of(value):
        return left + value / highest * (WIDTH - left - right)

    before = 0
    for row, (name, time) in enumerate(steps):
        y = top + row * 25
        low, high = sorted((before, time))
        out.append(f'<text x="{left - 10}" y="{y + 17}" text-anchor="end">{escape(name)}</text>'
                   f'<rect class="{"f0" if time >= before else "bar"}" x="{x_of(low):.1f}" y="{y + 3}" width="{max(x_of(high) - x_of(low), 1.5):.1f}" height="19" rx="2"/>'
                   f'<text class="soft" x="{x_of(high) + 8:.1f}" y="{y + 17}">{"+" if row else ""}{escape(show_time(time - before)) if time >= before else "−" + escape(show_time(before - time))}</text>')
        if row + 1 < len(steps):
            out.append(f'<line class="grid" x1="{x_of(time):.1f}" x2="{x_of(time):.1f}" y1="{y + 22}" y2="{y + 28}"/>')
        before = time
    return picture("\n".join(out), top + len(steps) * 25 + 10, title)


def contract_chart(title, note, verdicts):
    """Each bound is the line at 1; left of it is better, by factors."""
    verdicts = [verdict for verdict in verdicts if verdict.value is not None]
    if not verdicts:
        return ""
    out, top = _head(title, note)
    top += 34
    left, right = 265, 95
    parts = [v.value / v.rule.accepted for v in verdicts] + [v.rule.aim / v.rule.accepted for v in verdicts]
    low, high = min(min(parts) * 0.8, 0.05), max(max(parts) * 1.2, 2)

    def x_of(part):
        return left + math.log(part / low) / math.log(high / low) * (WIDTH - left - right)

    bottom = top + len(verdicts) * 26
    for part, text in ((0.001, "1/1000"), (0.01, "1/100"), (0.1, "1/10"), (0.5, "half"), (1, "accepted")):
        if part < low:
            continue
        kind = "mark" if part == 1 else "grid"
        out.append(f'<line class="{kind}" x1="{x_of(part):.1f}" x2="{x_of(part):.1f}" y1="{top - 6}" y2="{bottom}"/>'
                   f'<text class="tick soft" x="{x_of(part):.1f}" y="{top - 12}" text-anchor="middle">{text}</text>')
    for row, verdict in enumerate(verdicts):
        y = top + row * 26 + 13
        part, aim = verdict.value / verdict.rule.accepted, verdict.rule.aim / verdict.rule.accepted
        color = "good" if verdict.passed else "bad"
        text = verdict.rule.show(verdict.value)
        out.append(f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(verdict.rule.id)} · {escape(verdict.rule.what)}</text>'
                   f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y}" y2="{y}"/>'
                   f'<path class="soft" d="M{x_of(aim):.1f} {y - 6} l5 6 l-5 6 l-5 -6z" opacity=".55"><title>aim</title></path>'
                   f'<circle class="{color}" cx="{x_of(part):.1f}" cy="{y}" r="6"/>')
        out.append(f'<text class="strong {color}" x="{WIDTH - right + 14}" y="{y + 4}">{escape(text)}</text>')
    return picture("\n".join(out), bottom + 10, title)


def split(svgs):
    """The pictures that a plot consists of."""
    return [part + "</svg>\n" for part in svgs.split("</svg>\n") if part.strip()]


def label_of(svg):
    return svg.split('aria-label="', 1)[1].split('"', 1)[0]
