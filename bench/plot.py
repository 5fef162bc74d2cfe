# SPDX-License-Identifier: Apache-2.0
"""An SVG of lines over a logarithmic axis, by matplotlib: panels side by side, one legend, readable on dark and on light
pages.

python3 bench/plot.py FILE.svg...      writes pictures of matplotlib's again, as `compact` does"""

import io
import math
import re
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Sequence
from xml.etree import ElementTree

try:
    import matplotlib
except ImportError as error:
    raise ImportError("matplotlib must be installed (pip install matplotlib); got none") from error
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

# Told apart by hue, by lightness and, for float32, by dashes.
OURS = "#d9480f"
HUES = ("#2f7fc1", "#159a80", "#8467c7", "#b3892b", "#c2589b", "#7d8590")
COLUMNS = 3  # of the legend
INK = "#010203"  # stands for currentColor until the SVG is written
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"], "svg.hashsalt": "octavo", "text.parse_math": False, "font.size": 9, "text.color": INK,
    "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#8b949e", "grid.alpha": 0.3}
# The colour of an image's text is no page's: it follows the reader's own choice.
COLOURS = "<style xmlns='http://www.w3.org/2000/svg'>svg { color: #3d444d; } @media (prefers-color-scheme: dark) { svg { color: #c9d1d9; } }</style>"


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


def curve(axes: Axes, series: Series, colour: str) -> None:
    xs, ys = [p.x for p in series.points], [p.y for p in series.points]
    low, high = [p.low for p in series.points], [p.high for p in series.points]
    if series.ours and xs and None not in low and None not in high:
        axes.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)  # type: ignore[arg-type]
    axes.plot(xs, ys, label=series.name, color=colour, marker="o", markersize=4.5 if series.ours else 3.5,
              linewidth=2.4 if series.ours else 1.4, linestyle="--" if series.dashed else "-",
              zorder=3 if series.ours else 2)
    for x, y in zip(xs, ys) if series.values else ():
        axes.annotate(f"{y:.2f}", (x, y), (0, 6), textcoords="offset points", ha="center", color=colour, fontsize=8,
                      fontweight="bold", annotation_clip=True)


def fill(axes: Axes, panel: Panel, x_label: str, axis: Axis, chosen: dict[str, str], ticks: Sequence[float]) -> None:
    axes.set_xscale("log", base=2)
    if axis.logarithmic:
        axes.set_yscale("log", base=2)
    for along, marks in ((axes.xaxis, ticks), (axes.yaxis, axis.ticks)):
        along.set_major_locator(FixedLocator(list(marks)))
        along.set_minor_locator(NullLocator())
        along.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(axis.low, axis.high)
    axes.set_title(panel.title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(x_label)
    axes.set_ylabel(axis.label)
    for series in panel.series:
        curve(axes, series, chosen[series.name])
    for bound in panel.bounds:
        axes.axhline(bound.y, color="#8b949e", linestyle=":", linewidth=1.2)
        if bound.word:
            axes.annotate(bound.word, (0.01, bound.y), (0, 3), xycoords=("axes fraction", "data"),
                          textcoords="offset points", fontsize=8)


def draw(title: str, panels: Sequence[Panel], x_label: str, axis: Axis) -> str:
    """The whole picture. Its bytes depend on nothing but the arguments and matplotlib."""
    chosen = colours(panels)
    ticks = sorted({p.x for panel in panels for s in panel.series for p in s.points}) or [1.0]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 4.9), layout="constrained")
        every = figure.subplots(1, len(panels), squeeze=False)[0]
        for axes, panel in zip(every, panels, strict=True):
            fill(axes, panel, x_label, axis, chosen, ticks)
        named = {name: line for axes in every for line, name in zip(*axes.get_legend_handles_labels())}
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
        figure.legend(named.values(), named.keys(), loc="lower left", ncols=COLUMNS, frameon=False)
        legend = 0.04 + 0.042 * math.ceil(len(named) / COLUMNS)  # of the height
        figure.get_layout_engine().set(rect=(0, legend, 1, 1 - legend))  # type: ignore[union-attr]
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return compact(out.getvalue().replace(INK, "currentColor"), title)


SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def leaves(element: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """The children, and in place of a group that is nothing but a name those of the group."""
    for child in element:
        if child.tag == f"{{{SVG}}}g" and set(child.attrib) <= {"id"}:
            yield from leaves(child)
        elif child.tag != f"{{{SVG}}}metadata":
            yield child


def rounded(text: str) -> str:
    """In one line, numbers to a hundredth."""
    return re.sub(r"-?\d+\.\d{3,}", lambda n: f"{round(float(n[0]), 2):g}", " ".join(text.split()))


def compact(svg: str, title: str = "") -> str:
    """matplotlib's picture with a line for each thing that is drawn. With a title also what names it to a screen reader, and
    the colour of its text."""
    root = ElementTree.fromstring(svg)
    children = list(leaves(root))
    root[:] = children
    if title:
        root.attrib.update({"role": "img", "aria-label": title})
        name = ElementTree.Element(f"{{{SVG}}}title")
        name.text = title
        root[:] = [name, ElementTree.fromstring(COLOURS), *children]
    for element in root.iter():
        element.attrib.update({key: rounded(value) for key, value in element.attrib.items()})
        element.text, element.tail = rounded(element.text or "") or None, None
    for child in root:
        child.tail = "\n"
    root.text = "\n"
    return ElementTree.tostring(root, encoding="unicode") + "\n"


if __name__ == "__main__":
    for file in map(Path, sys.argv[1:]):
        file.write_text(compact(file.read_text(encoding="utf-8")), encoding="utf-8")
