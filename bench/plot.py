# SPDX-License-Identifier: Apache-2.0
"""An SVG of lines over a logarithmic axis: panels side by side, one legend, readable on dark and on light pages."""

import math
from typing import NamedTuple, Sequence
from xml.sax.saxutils import escape

WIDTH = 1000
PANEL_TOP = 56
PANEL_HEIGHT = 300
LEFT = 52
RIGHT = 24
GAP = 40
LEGEND_ROW = 20

# Told apart by hue, by lightness and, for float32, by dashes.
OURS = "#d9480f"
HUES = ("#2f7fc1", "#159a80", "#8467c7", "#b3892b", "#c2589b", "#7d8590")

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #3d444d; }
  .title { font-size: 14px; font-weight: 600; }
  .value { font-size: 10.5px; font-weight: 600; fill: #d9480f; }
  .small { font-size: 10.5px; }
  .grid { stroke: #8b949e; stroke-opacity: 0.3; stroke-width: 1; }
  .bound { stroke: #8b949e; stroke-width: 1.2; stroke-dasharray: 2 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .value { fill: #f5813f; }
  }
"""


class Point(NamedTuple):
    x: float
    y: float
    low: float | None = None
    high: float | None = None


class Series(NamedTuple):
    name: str
    points: Sequence[Point]
    ours: bool = False  # a thick line with its interval
    dashed: bool = False
    values: bool = False  # written at the points
    colour: str = ""  # empty: one that no other series has


class Bound(NamedTuple):
    """A dotted line across a panel, with a word at its right end."""

    y: float
    word: str = ""


class Panel(NamedTuple):
    title: str
    series: Sequence[Series]
    bounds: Sequence[Bound] = ()

    def values(self) -> list[float]:
        return [p.high or p.y for s in self.series for p in s.points] + [b.y for b in self.bounds]


class Axis(NamedTuple):
    """The y axis of all panels."""

    label: str
    low: float
    high: float
    ticks: Sequence[float]
    logarithmic: bool = False


def fractions(label: str, panels: Sequence[Panel]) -> Axis:
    """From 0 to the largest value, 1 at least and 2 at most, in steps of 0.2."""
    steps = math.ceil((max([1.0, *(v for p in panels for v in p.values())]) + 0.02) / 0.2)
    return Axis(label, 0.0, 0.2 * min(steps, 10), [round(0.2 * i, 1) for i in range(min(steps, 10) + 1)])


def magnitudes(label: str, panels: Sequence[Panel]) -> Axis:
    """Logarithmic, with ticks at 100 times powers of two, from one below all values to one above."""
    values = [v for p in panels for v in p.values()] + [p.y for panel in panels for s in panel.series for p in s.points]
    low, high = min(values, default=1.0), max(values, default=1.0)
    marks = [100.0 * 2.0 ** e for e in range(-20, 21)]
    first = max(i for i, m in enumerate(marks) if m <= low)
    last = min(i for i, m in enumerate(marks) if m > high)
    return Axis(label, marks[first], marks[last], marks[first:last + 1], logarithmic=True)


def colours(panels: Sequence[Panel]) -> dict[str, str]:
    every = {s.name: s for p in panels for s in p.series}
    chosen = {name: s.colour or OURS for name, s in every.items() if s.colour or s.ours}
    rest = [name for name in every if name not in chosen]
    chosen.update({name: HUES[i % len(HUES)] for i, name in enumerate(rest)})
    return chosen


class Scale(NamedTuple):
    """From values to pixels of one panel."""

    left: float
    width: float
    x_low: float
    x_high: float
    axis: Axis

    def x(self, value: float) -> float:
        span = math.log2(self.x_high / self.x_low) or 1.0
        return self.left + self.width * math.log2(value / self.x_low) / span

    def y(self, value: float) -> float:
        low, high, at = self.axis.low, self.axis.high, max(min(value, self.axis.high), self.axis.low)
        if self.axis.logarithmic:
            low, high, at = math.log2(low), math.log2(high), math.log2(at)
        return PANEL_TOP + PANEL_HEIGHT * (1.0 - (at - low) / (high - low))


def text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "", extra: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{of_kind}{extra}>{escape(words)}</text>'


def across(scale: Scale, y: float, kind: str) -> str:
    right = scale.left + scale.width
    return f'<line class="{kind}" x1="{scale.left:.1f}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>'


def axes(scale: Scale, panel: Panel, ticks: Sequence[float], x_label: str) -> list[str]:
    right, bottom = scale.left + scale.width, PANEL_TOP + PANEL_HEIGHT
    out = [text(scale.left, PANEL_TOP - 16, panel.title, "start", "title")]
    for tick in scale.axis.ticks:
        y = scale.y(tick)
        out += [across(scale, y, "grid"), text(scale.left - 8, y + 4, f"{tick:g}", "end")]
    for bound in panel.bounds:
        y = scale.y(bound.y)
        out.append(across(scale, y, "bound"))
        if bound.word:
            out.append(text(scale.left + 6, y - 5, bound.word, "start", "small"))
    out += [text(scale.x(t), bottom + 18, f"{t:g}") for t in ticks]
    out.append(text((scale.left + right) / 2, bottom + 38, x_label))
    middle = PANEL_TOP + PANEL_HEIGHT / 2
    turned = f' transform="rotate(-90 {scale.left - 38:.1f} {middle:.1f})"'
    out.append(text(scale.left - 38, middle, scale.axis.label, extra=turned))
    return out


def curve(scale: Scale, series: Series, colour: str) -> list[str]:
    if not series.points:
        return []
    out = []
    where = [(scale.x(p.x), scale.y(p.y)) for p in series.points]
    if series.ours and all(p.low is not None for p in series.points):
        edge = [(scale.x(p.x), scale.y(p.high)) for p in series.points]
        edge += [(scale.x(p.x), scale.y(p.low)) for p in reversed(series.points)]
        band = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge)
        out.append(f'<polygon points="{band}" fill="{colour}" fill-opacity="0.18"/>')
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
    dashes = ' stroke-dasharray="6 4"' if series.dashed else ""
    out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" '
               f'stroke-width="{3 if series.ours else 1.8}"{dashes}/>')
    for point, (x, y) in zip(series.points, where):
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3.6 if series.ours else 2.6}" fill="{colour}">'
                   f"<title>{escape(series.name)}: {point.y:.4g} at {point.x:g}</title></circle>")
        if series.values:
            out.append(text(x, y - 9, f"{point.y:.2f}", kind="value"))
    return out


def draw(title: str, panels: Sequence[Panel], x_label: str, axis: Axis) -> str:
    """The whole picture."""
    chosen = colours(panels)
    values = [p for panel in panels for s in panel.series for p in s.points]
    ticks = sorted({p.x for p in values}) or [1.0]
    width = (WIDTH - RIGHT - (LEFT + GAP) * len(panels) + GAP) / len(panels)
    body: list[str] = []
    for i, panel in enumerate(panels):
        scale = Scale(LEFT + i * (width + LEFT + GAP), width, ticks[0], ticks[-1], axis)
        body += axes(scale, panel, ticks, x_label)
        for series in sorted(panel.series, key=lambda s: s.ours):
            body += curve(scale, series, chosen[series.name])
    every = {s.name: s for p in panels for s in p.series}
    y = PANEL_TOP + PANEL_HEIGHT + 66
    for i, series in enumerate(every.values()):
        x, row = LEFT + (i % 2) * (WIDTH - LEFT) / 2, y + LEGEND_ROW * (i // 2)
        dashes = ' stroke-dasharray="6 4"' if series.dashed else ""
        body.append(f'<line x1="{x:.1f}" y1="{row - 4:.1f}" x2="{x + 28:.1f}" y2="{row - 4:.1f}" '
                    f'stroke="{chosen[series.name]}" stroke-width="3"{dashes}/>')
        body.append(text(x + 36, row, series.name, "start"))
    height = y + LEGEND_ROW * ((len(every) + 1) // 2) + 4
    content = "\n".join(body)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{escape(title)}">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
            f'{text(LEFT, 20, title, "start", "title")}\n{content}\n</svg>\n')
