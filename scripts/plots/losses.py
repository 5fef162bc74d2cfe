# SPDX-License-Identifier: Apache-2.0
"""Plots of what 8 bits cost."""

import re

from .canvas import BLUE, GREEN, GREY, PURPLE, VERMILION, Canvas, head, label_ends, line, ticks
from .figures import ROOT, rows, table


def accuracy() -> str:
    """The loss of each scheme, and perplexity over speed."""
    found = table(ROOT / "docs" / "accuracy.md", "| scheme | weight; activations |")
    names = list(dict.fromkeys(row[0] for row in found))
    speeds = {row["scheme"]: float(row["glosses_per_second"]) for row in rows("trained-model")}
    perplexity = {row[0]: float(row[3]) for row in found if row[2] == "no"}
    text = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    perplexity["float32"] = float(re.findall(r"perplexity of the float32 model (\d+\.\d+)", text)[0])
    with Canvas("What 8 bits cost SmolLM2-135M: the loss of each scheme, and perplexity over speed", 2, 6.2, left=0.42, heights=(3, 2)) as canvas:
        top, bottom = canvas.axes
        for place, name in enumerate(names):
            for _, _, smooth, _, loss, *_ in (row for row in found if row[0] == name):
                value, error = (float(part) for part in loss.split(" ± "))
                colour, shift = (VERMILION, -0.16) if smooth == "no" else (BLUE, 0.16)
                top.plot((max(value - error, 5e-4), value + error), (place + shift,) * 2, color=colour, linewidth=1.4)
                top.plot(value, place + shift, "o" if smooth == "no" else "s", color=colour, markersize=4)
        top.set_yticks(range(len(names)), names)
        top.invert_yaxis()
        ticks(top, "x", (0.001, 0.01, 0.1, 1))
        top.grid(True, axis="x")
        head(top, "loss over float32 in nats; square: SmoothQuant")
        colours = {"float32": GREY, "int8-dynamic": VERMILION, "fp8-dynamic": BLUE, "fp8-block": GREEN, "llm-int8": PURPLE}
        for name, colour in colours.items():
            bottom.plot(speeds[name], perplexity[name], "o", color=colour, markersize=6)
            right = speeds[name] < 4000
            bottom.annotate(name, (speeds[name], perplexity[name]), (7 if right else -7, 0), textcoords="offset points", va="center",
                            ha="left" if right else "right", fontsize=8)
        head(bottom, "perplexity over speed: best at the lower right")
        bottom.set_xlabel("glosses/s of MiniLM")
        ticks(bottom, "x", (2000, 3000, 4000), logarithmic=False)
        ticks(bottom, "y", (17, 17.2, 17.4, 17.6), logarithmic=False)
        bottom.set_xlim(1200, 4500)
        bottom.set_ylim(16.9, 17.65)
    return canvas.svg


def outliers() -> str:
    """MiniLM with outlier features of growing size."""
    found = rows("outlier-features")
    kinds = {"int8 per token": ("int8", VERMILION), "LLM.int8, threshold 6": ("LLM.int8()", BLUE),
             "the same, original outlier weights": ("original weights", GREEN)}
    with Canvas("MiniLM with outlier features: mean 1 - cosine of embeddings over the outliers' size, by int8 and LLM.int8()", 2, 4.4, left=0.16, right=0.75) as canvas:
        for axes, way in zip(canvas.axes, ("scaled", "shifted")):
            ticks(axes, "x", (1, 10, 30, 100) if way == "scaled" else (0, 10, 30, 60), logarithmic=way == "scaled")
            ticks(axes, "y", (0.001, 0.01, 0.1))
            axes.set_ylim(0.0004, 0.12)
            ends = []
            for kind, (name, colour) in kinds.items():
                points = [(float(row["s"]), float(row["mean_cosine_loss"])) for row in found if row["way"] == way and row["layers"] == kind]
                line(axes, points, colour)
                ends.append((*points[-1], name))
            axes.set_xlim(*((0.8, 120) if way == "scaled" else (-2, 63)))
            label_ends(axes, ends)
            head(axes, f"{way} by s: mean 1 - cosine of the embeddings")
        canvas.axes[-1].set_xlabel("s")
    return canvas.svg


PLOTS = {"accuracy": accuracy, "outliers": outliers}
