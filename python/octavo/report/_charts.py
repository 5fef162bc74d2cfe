# SPDX-License-Identifier: Apache-2.0
"""The charts of a report, as SVG elements that take their text's colour from the page."""

import io
import math
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

try:
    import matplotlib
except ImportError as error:
    raise ImportError("matplotlib must be installed (pip install octavo[report], or Debian's python3-matplotlib); "
                      "got none") from error

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from octavo.report._blocks import MANY, Blocks, blocks

# One colour for each name in all charts, and a mark whose rings show where two lie on one point.
COLOURS = {"int8-dynamic": "#d9480f", "fp8-dynamic": "#2f7fc1", "fp8-block": "#159a80", "llm-int8": "#8467c7",
           "int8-weight-only": "#a0622d", "fp8-weight-only": "#2a93b5", "mxfp8": "#c2439b",
           "float32": "#7d8590", "as stored": "#b3892b", "outlier columns": "#8467c7", "lost in int8": "#d9480f",
           "lost in float8_e4m3fn": "#2f7fc1"}
MARKS = {"int8-dynamic": ("o", 60), "fp8-dynamic": ("s", 22), "fp8-block": ("^", 22), "llm-int8": ("D", 14),
         "int8-weight-only": ("P", 8), "fp8-weight-only": ("X", 8), "mxfp8": ("*", 8),
         "as stored": ("v", 30), "outlier columns": ("D", 22), "lost in int8": ("o", 60), "lost in float8_e4m3fn": ("s", 22)}
INK = "#010203"  # stands for currentColor until the SVG is written


class Sheet(NamedTuple):
    """What a chart is drawn for: its text is as large on all of them."""

    kind: str  # the class of its element
    width: float  # inches
    more: float  # inches of height beside those of the widest
    longest: int  # characters of a name
    names: int  # in a line of a legend
    ticks: int  # blocks with a number
    drops_prefix: bool  # "model.layers.", which all names have


SHEETS = (Sheet("wide", 7.5, 0.0, 40, 3, 16, False), Sheet("narrow", 3.8, 0.4, 20, 2, 6, True))

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "font.size": 9, "axes.spines.top": False,
    "axes.spines.right": False}


def short(name: str, longest: int) -> str:
    """A name that fits beside a chart, whose XML has no control characters."""
    name = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return name if len(name) <= longest else "..." + name[3 - longest:]


def _svg(height: float, draw: Callable[[Axes, Sheet], None]) -> str:
    return _figure(height, lambda figure, sheet: draw(figure.add_subplot(), sheet))


def _figure(height: float, draw: Callable[[Figure, Sheet], None]) -> str:
    """The chart on every sheet, of which the page shows the one that fits."""
    return "".join(f'<div class="{sheet.kind}">{_drawn(height, draw, sheet)}</div>' for sheet in SHEETS)


def _drawn(height: float, draw: Callable[[Figure, Sheet], None], sheet: Sheet) -> str:
    # Ids of one sheet are not those of the other, which the page hides.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": f"octavo {sheet.kind}"}):
        figure = Figure(figsize=(sheet.width, height + sheet.more), layout="constrained")
        draw(figure, sheet)
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None,
                                                                      "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg"):].replace(INK, "currentColor")
    text = re.sub(r'<g id="[\w.]+"', "<g", text)  # those of groups, which nothing refers to, are the same in every chart
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text, flags=re.DOTALL)
    return re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2).replace("xlink:href", "href")


def _layers(axes: Axes, layers: list[dict[str, Any]], sheet: Sheet) -> None:
    names = [layer["name"] for layer in layers]
    if sheet.drops_prefix:
        common = os.path.commonprefix(names).rpartition(".")[0]
        names = [name.removeprefix(common + ".") for name in names]
    axes.set_yticks(range(len(layers)), [short(name, sheet.longest) for name in names])
    axes.set_ylim(len(layers) - 0.5, -0.5)


Series = dict[str, list[float | None]]  # of each name a value for each layer; None: not known


def _points(layers: list[dict[str, Any]], series: Series, label: str, worst: Callable[[list[float]], float],
            least: float | None) -> str:
    def draw(axes: Axes, sheet: Sheet) -> None:
        for name, values in series.items():
            mark, size = MARKS[name]
            known = [(value, row) for row, value in enumerate(values) if value is not None]
            axes.scatter([value for value, _ in known], [row for _, row in known], label=name, color=COLOURS[name],
                         marker=mark, s=size)
        if least is not None:
            axes.axvline(least, color=INK, linestyle=":", label=f"{least:g} dB wanted")
        axes.set_xlabel(f"{label} ({'more' if worst is min else 'less'} is better)")
        axes.figure.legend(ncols=sheet.names, loc="outside upper left", frameon=False)
        _layers(axes, layers, sheet)
    return _svg(1.2 + 0.2 * len(layers), draw)


def _tables(table: Blocks, series: Series, label: str, worst: Callable[[list[float]], float], least: float | None) -> str:
    """A heat map of blocks and kinds for each name, on one scale of colours."""
    import numpy as np

    images = {name: np.array(table.values(values, worst)) for name, values in series.items()}
    known = np.concatenate([image[np.isfinite(image)] for image in images.values()])

    def draw(figure: Figure, sheet: Sheet) -> None:
        step = max(1, math.ceil(len(table.columns) / sheet.ticks))
        panels = figure.subplots(len(images), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (name, image) in zip(panels, images.items(), strict=True):
            shown = axes.imshow(image, aspect="auto", cmap="viridis", interpolation="nearest", vmin=known.min(),
                                vmax=known.max())
            axes.set_yticks(range(len(table.kinds)), [short(kind, sheet.longest) for kind in table.kinds])
            if least is not None:
                rows, columns = np.nonzero(image < least)
                axes.scatter(columns, rows, marker="x", s=12, linewidth=1.0, color="#ff5c5c")
            axes.set_title(name, loc="left", fontsize=9)
        panels[-1].set_xticks(range(0, len(table.columns), step), table.columns[::step])
        panels[-1].set_xlabel("block" if least is None else f"block (x: less than the {least:g} dB wanted)")
        figure.colorbar(shown, ax=list(panels), label=label, fraction=0.04)
    return _figure(0.8 + len(images) * (0.4 + 0.2 * len(table.kinds)), draw)


def _by_layer(layers: list[dict[str, Any]], series: Series, label: str, worst: Callable[[list[float]], float],
              least: float | None = None) -> str:
    """Every layer's values: marks in a row for each layer, or of many layers a heat map of their blocks with the worst
    of a block's experts. Empty where nothing is known."""
    series = {name: values for name, values in series.items() if any(value is not None for value in values)}
    if not series:
        return ""
    if len(layers) <= MANY:
        return _points(layers, series, label, worst, least)
    return _tables(blocks([layer["name"] for layer in layers]), series, label, worst, least)


def _sqnr(layers: list[dict[str, Any]], field: str) -> Series:
    series: Series = {}
    for row, layer in enumerate(layers):
        of_layer = [(scheme["scheme"], scheme) for scheme in layer["schemes"] or []]
        if layer["error"]:
            of_layer.append(("as stored", layer["error"]))
        for name, found in of_layer:
            series.setdefault(name, [None] * len(layers))[row] = found.get(field)
    return series


def errors(layers: list[dict[str, Any]], least: float) -> str:
    """The SQNR of every layer in every scheme, beside the least that is wanted."""
    return _by_layer(layers, _sqnr(layers, "sqnr_db"), "SQNR of the weight, dB", min, least)


def outputs(layers: list[dict[str, Any]]) -> str:
    """What quantised weights do to the outputs of the calibration's inputs."""
    return _by_layer(layers, _sqnr(layers, "output_sqnr_db"), "SQNR of the output, dB", min)


def inputs(layers: list[dict[str, Any]]) -> str:
    """How many columns of each layer's input stand out, and how many one static scale makes zeros."""
    series: Series = {name: [None] * len(layers) for name in
                      ("outlier columns", "lost in int8", "lost in float8_e4m3fn")}
    for row, layer in enumerate(layers):
        if seen := layer.get("input"):
            columns = layer["shape"][1]
            counts = {"outlier columns": seen["outlier_columns"],
                      **{f"lost in {code}": lost for code, lost in seen["lost_columns"].items()}}
            for name, count in counts.items():
                series[name][row] = 100.0 * count / columns
    return _by_layer(layers, series, "% of the input's columns", max)


def measured(rows: Sequence[dict[str, Any]]) -> str:
    """The SQNR of each layer's output that octavo.torch.evaluate found."""
    values = [row["sqnr_db"] if row["sqnr_db"] is not None and math.isfinite(row["sqnr_db"]) else None for row in rows]
    return _by_layer(list(rows), {"as stored": values}, "SQNR of the output, dB", min)


def sizes(layers: list[dict[str, Any]]) -> str:
    """All layers' bytes as they are and in every scheme."""
    sums = {"as stored": float(sum(layer["bytes"] for layer in layers))}
    for layer in layers:
        for scheme in layer["schemes"] or []:
            sums[scheme["scheme"]] = sums.get(scheme["scheme"], 0.0) + scheme["bytes_after"]

    def draw(axes: Axes, sheet: Sheet) -> None:
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

    def draw(axes: Axes, sheet: Sheet) -> None:
        shown = axes.imshow(image, aspect="auto", cmap="viridis", interpolation="nearest")
        axes.figure.colorbar(shown, ax=axes, label=bar, fraction=0.04)
        axes.set_xlabel(label)
        axes.set_xticks([])
        _layers(axes, layers, sheet)
    return _svg(1.0 + 0.2 * len(layers), draw)


def histograms(layers: list[dict[str, Any]]) -> str:
    """How each layer's weights are spread below the largest of their rows; of many layers, those of one kind together."""
    seen = [layer for layer in layers if layer["histogram"]]
    if len(seen) > MANY:
        table = blocks([layer["name"] for layer in seen])
        sums = [[0] * len(seen[0]["histogram"]) for _ in table.kinds]
        for (kind, _), members in table.cells.items():
            for member in members:
                sums[kind] = [a + b for a, b in zip(sums[kind], seen[member]["histogram"], strict=True)]
        seen = [{"name": kind, "histogram": counts} for kind, counts in zip(table.kinds, sums, strict=True)]
    rows = [[100.0 * count / (sum(layer["histogram"]) or 1) for count in layer["histogram"]] for layer in seen]
    return _heat(seen, rows, "|w| over the row's largest: 0 to 1", "% of weights") if seen else ""


def outliers(layers: list[dict[str, Any]]) -> str:
    """Where columns stand out: the largest of each slice over the median column; of many layers, the largest of all."""
    seen = [layer for layer in layers if layer["columns"] and layer["columns"]["slices"]]
    rows = [[value or 0.0 for value in layer["columns"]["slices"]] for layer in seen]
    if len(seen) > MANY:
        table = blocks([layer["name"] for layer in seen])
        return _tables(table, {"largest column": [max(row) for row in rows]}, "times the median column", max, None)
    return _heat(seen, rows, "columns, first to last", "times the median column") if seen else ""


def speeds(speed: list[dict[str, Any]], m: int) -> str:
    """Times of each shape with m rows, over bfloat16's."""
    groups = [("{} x {}".format(*entry["shape"]), {t["form"]: t["median_us"] for t in entry["times"] if t["m"] == m})
              for entry in speed]
    forms = [form for form in dict.fromkeys(form for _, times in groups for form in times) if form != "bfloat16"]

    def draw(axes: Axes, sheet: Sheet) -> None:
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
        axes.figure.legend(ncols=sheet.names, loc="outside upper left", frameon=False)
    return _svg(1.2 + 0.6 * len(groups), draw)
