# SPDX-License-Identifier: Apache-2.0
"""The charts of a report, as SVG elements that take their text's colour from the page."""

import io
import re
from typing import Any, Callable

try:
    import matplotlib
except ImportError as error:
    raise ImportError("matplotlib must be installed (pip install octavo[report], or Debian's python3-matplotlib); "
                      "got none") from error

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# One colour for each name in all charts, and a mark whose rings show where two lie on one point.
COLOURS = {"int8-dynamic": "#d9480f", "fp8-dynamic": "#2f7fc1", "fp8-block": "#159a80", "llm-int8": "#8467c7",
           "float32": "#7d8590", "as stored": "#b3892b"}
MARKS = {"int8-dynamic": ("o", 60), "fp8-dynamic": ("s", 22), "fp8-block": ("^", 22), "llm-int8": ("D", 14),
         "as stored": ("v", 30)}
INK = "#010203"  # stands for currentColor until the SVG is written
WIDTH = 7.5
LONGEST = 40

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False, "svg.hashsalt": "octavo"}


def short(name: str) -> str:
    """A name that fits beside a chart."""
    return name if len(name) <= LONGEST else "..." + name[3 - LONGEST:]


def _svg(height: float, draw: Callable[[Axes], None]) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        draw(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None,
                                                                      "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg"):].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, flags=re.DOTALL)
    return re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2).replace("xlink:href", "href")


def _layers(axes: Axes, layers: list[dict[str, Any]]) -> None:
    axes.set_yticks(range(len(layers)), [short(layer["name"]) for layer in layers])
    axes.set_ylim(len(layers) - 0.5, -0.5)


def errors(layers: list[dict[str, Any]], least: float) -> str:
    """The SQNR of every layer in every scheme, beside the least that is wanted."""
    def draw(axes: Axes) -> None:
        points: dict[str, list[tuple[float, int]]] = {}
        for row, layer in enumerate(layers):
            for scheme in layer["schemes"] or []:
                if scheme["sqnr_db"] is not None:
                    points.setdefault(scheme["scheme"], []).append((scheme["sqnr_db"], row))
            if layer["error"] and layer["error"]["sqnr_db"] is not None:
                points.setdefault("as stored", []).append((layer["error"]["sqnr_db"], row))
        for name, of in points.items():
            mark, size = MARKS[name]
            axes.scatter([db for db, _ in of], [row for _, row in of], label=name, color=COLOURS[name], marker=mark,
                         s=size)
        axes.axvline(least, color=INK, linestyle=":", label=f"{least:g} dB wanted")
        axes.set_xlabel("SQNR of the weight, dB (right is better)")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
        _layers(axes, layers)
    return _svg(1.2 + 0.2 * len(layers), draw)


def sizes(layers: list[dict[str, Any]]) -> str:
    """All layers' bytes as they are and in every scheme."""
    sums = {"as stored": float(sum(layer["bytes"] for layer in layers))}
    for layer in layers:
        for scheme in layer["schemes"] or []:
            sums[scheme["scheme"]] = sums.get(scheme["scheme"], 0.0) + scheme["bytes_after"]

    def draw(axes: Axes) -> None:
        bars = axes.barh(list(sums), [value / 2 ** 20 for value in sums.values()],
                         color=[COLOURS[name] for name in sums])
        axes.bar_label(bars, fmt="%.1f", padding=3)
        axes.invert_yaxis()
        axes.set_xlabel("MiB of all linear layers")
    return _svg(0.9 + 0.25 * len(sums), draw)


def _heat(layers: list[dict[str, Any]], rows: list[list[float]], label: str, bar: str) -> str:
    import numpy as np

    width = max(len(row) for row in rows)
    # Layers with fewer slices are stretched to the widest.
    image = np.array([[row[i * len(row) // width] for i in range(width)] for row in rows])

    def draw(axes: Axes) -> None:
        shown = axes.imshow(image, aspect="auto", cmap="viridis", interpolation="nearest")
        axes.figure.colorbar(shown, ax=axes, label=bar, fraction=0.04)
        axes.set_xlabel(label)
        axes.set_xticks([])
        _layers(axes, layers)
    return _svg(1.0 + 0.2 * len(layers), draw)


def histograms(layers: list[dict[str, Any]]) -> str:
    """How each layer's weights are spread below the largest of their rows."""
    seen = [layer for layer in layers if layer["histogram"]]
    rows = [[100.0 * count / (sum(layer["histogram"]) or 1) for count in layer["histogram"]] for layer in seen]
    return _heat(seen, rows, "|w| over the row's largest: 0 to 1", "% of weights") if seen else ""


def outliers(layers: list[dict[str, Any]]) -> str:
    """Where columns stand out: the largest of each slice over the median column."""
    seen = [layer for layer in layers if layer["columns"] and layer["columns"]["slices"]]
    rows = [[value or 0.0 for value in layer["columns"]["slices"]] for layer in seen]
    return _heat(seen, rows, "columns, first to last", "times the median column") if seen else ""


def speeds(speed: list[dict[str, Any]], m: int) -> str:
    """Times of each shape with m rows, over bfloat16's."""
    groups = [("{} x {}".format(*entry["shape"]), {t["form"]: t["median_us"] for t in entry["times"] if t["m"] == m})
              for entry in speed]
    forms = [form for form in dict.fromkeys(form for _, times in groups for form in times) if form != "bfloat16"]

    def draw(axes: Axes) -> None:
        height = 0.8 / max(1, len(forms))
        for i, form in enumerate(forms):
            values = [times["bfloat16"] / times[form] if times.get(form) and times.get("bfloat16") else 0.0
                      for _, times in groups]
            axes.barh([row - 0.4 + (i + 0.5) * height for row in range(len(groups))], values, height, label=form,
                      color=COLOURS[form])
        axes.axvline(1.0, color=INK, linestyle=":")
        axes.set_yticks(range(len(groups)), [name for name, _ in groups])
        axes.invert_yaxis()
        axes.set_xlabel(f"times as fast as bfloat16, {m} row{'s' if m > 1 else ''}")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return _svg(1.2 + 0.6 * len(groups), draw)
