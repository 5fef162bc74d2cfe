# SPDX-License-Identifier: Apache-2.0
"""What the plots have in common: as wide as a phone, Okabe's and Ito's colours, words beside lines, text that follows the page's colour."""

import io
import sys
from typing import Any, Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .figures import ROOT

sys.path.insert(0, str(ROOT / "bench"))
from plot import INK, STYLE, compact  # noqa: E402

ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = "#e69f00", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#cc79a7"
GREY = "#8b949e"
WIDTH = 4.8  # inches: 390 pixels show letters of 10 pixels
GAP = 11.0  # between the middles of two labels, in points

__all__ = ["BLUE", "GREEN", "GREY", "INK", "ORANGE", "PURPLE", "SKY", "VERMILION", "Canvas", "head", "label_ends", "line", "one", "ticks"]


class Canvas:
    """A picture with panels below each other: `with Canvas(...) as canvas`, then canvas.axes, then canvas.svg."""

    def __init__(self, title: str, panels: int, height: float, left: float = 0.13, right: float = 0.97, heights: Sequence[float] | None = None):
        self.title, self.svg = title, ""
        self._style = rc_context({**STYLE, "axes.axisbelow": True})
        self._shape = (panels, height, left, right, list(heights or [1.0] * panels))

    def __enter__(self) -> "Canvas":
        self._style.__enter__()
        panels, height, left, right, heights = self._shape
        self._figure = Figure(figsize=(WIDTH, height))
        self.axes: list[Axes] = list(self._figure.subplots(panels, 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0])
        self._figure.subplots_adjust(left=left, right=right, top=1 - 0.28 / height, bottom=0.48 / height, hspace=0.62 * panels / height * 1.1)
        return self

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        if kind is None:
            self._fits()
            out = io.StringIO()
            self._figure.savefig(out, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
            self.svg = compact(out.getvalue().replace(INK, "currentColor"), self.title)
        self._style.__exit__(kind, value, trace)

    def _fits(self) -> None:
        """Raises: ValueError: a word that leaves the picture."""
        whole = self._figure.bbox
        FigureCanvasAgg(self._figure).draw()
        for word in self._figure.findobj(Text):
            box = word.get_window_extent()
            if word.get_visible() and word.get_text() and (box.x0 < whole.x0 or box.x1 > whole.x1 or box.y0 < whole.y0 or box.y1 > whole.y1):
                raise ValueError(f"plots: words must lie inside the picture {self.title!r}; got {word.get_text()!r}")


def head(axes: Axes, title: str) -> None:
    """Above a panel, from the picture's left edge on."""
    axes.annotate(title, (0.012, 1.0), (0, 6), xycoords=("figure fraction", "axes fraction"), textcoords="offset points", fontsize=9,
                  fontweight="bold", annotation_clip=False)


def ticks(axes: Axes, which: str, marks: Sequence[float], logarithmic: bool = True) -> None:
    """Ticks of an axis ("x" or "y") at these numbers alone."""
    if logarithmic:
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(list(marks)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def line(axes: Axes, points: Sequence[tuple[float, float]], colour: str, dashed: bool = False, marker: str = "o") -> None:
    axes.plot(*zip(*points), color=colour, marker=marker, markersize=4, linewidth=1.8, linestyle="--" if dashed else "-")


def one(axes: Axes, which: str, word: str = "") -> None:
    """A dotted line where both are equally fast."""
    (axes.axvline if which == "x" else axes.axhline)(1.0, color=GREY, linestyle=":", linewidth=1.4, zorder=1)
    if word:
        axes.annotate(word, (1.0, 1.0), (3, 3), textcoords="offset points", xycoords="data" if which == "y" else ("data", "axes fraction"),
                      fontsize=8, color=GREY)


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str]]) -> None:
    """Words right of the ends of lines, moved apart where they would meet. Limits of the axes must stand."""
    places = axes.transData.transform([(x, y) for x, y, _ in ends]) * 72.0 / axes.figure.dpi
    order = sorted(range(len(ends)), key=lambda i: places[i][1])
    wanted = [float(places[i][1]) for i in order]
    for _ in range(200):  # halves of an overlap, until none is left
        for i in range(len(wanted) - 1):
            short = GAP - (wanted[i + 1] - wanted[i])
            if short > 1e-6:
                wanted[i] -= short / 2
                wanted[i + 1] += short / 2
    for i, y in zip(order, wanted):
        axes.annotate(ends[i][2], ends[i][:2], (6, y - float(places[i][1])), textcoords="offset points", va="center", fontsize=8,
                      annotation_clip=False)
