# SPDX-License-Identifier: Apache-2.0
"""Plot of whole models."""

from .canvas import GREY, INK, VERMILION, Canvas, head, one, ticks
from .figures import rows

PANELS = {  # model: title, marks of cases
    "SmolLM2-135M": ("SmolLM2-135M: 1, 4, 16 rows, prompt (p)", {"decode 1": "1", "decode 4": "4", "decode 16": "16", "prompt 512": "p"}),
    "MiniLM-L6": ("MiniLM-L6: 1 x 16 (a), 32 x 16 (b), 32 x 128 (c)", {"1 x 16": "a", "32 x 16": "b", "32 x 128": "c"}),
}
ENGINES = {"vllm-int8": "vLLM, int8", "vllm-float": "vLLM, float32", "llama.cpp-q8_0": "llama.cpp, Q8_0", "openvino-int8": "OpenVINO, int8",
           "torch-float32": "PyTorch, float32", "openvino-encoder-int8": "OpenVINO, int8", "onnxruntime-int8": "ONNX Runtime, int8"}
OURS = ("vllm-octavo-int8", "vllm-octavo-int8-head", "transformers-octavo-int8-head", "octavo-int8", "octavo-int8-compiled")


def serve() -> str:
    """How many times as fast Octavo's best int8 row is as each engine; vermilion where it is slower."""
    found = {(row["model"], row["variant"], row["case"]): float(row["value"]) for row in rows("serve") if row["threads"] == "2"}
    with Canvas("Times as fast as each engine: Octavo's best int8 row, for SmolLM2 and for MiniLM", 2, 4.6, left=0.31, right=0.96) as canvas:
        for axes, (model, (title, marks)) in zip(canvas.axes, PANELS.items()):
            first = next(iter(marks))
            there = [name for name in ENGINES if (model, name, first) in found]
            for turn, (case, mark) in enumerate(marks.items()):
                lower = (turn - (len(marks) - 1) / 2) * 0.2  # marks of one engine do not meet
                best = max(found[model, name, case] for name in OURS if (model, name, case) in found)
                for place, name in enumerate(there):
                    ratio = best / found[model, name, case]
                    axes.annotate(mark, (ratio, place + lower), ha="center", va="center", fontsize=9, color=VERMILION if ratio < 1 else INK)
            axes.set_yticks(range(len(there)), [ENGINES[name] for name in there])
            axes.set_ylim(len(there) - 0.4, -0.6)
            ticks(axes, "x", (0.25, 0.5, 1, 2, 4, 8))
            axes.set_xlim(0.2, 10)
            axes.grid(True, axis="y", color=GREY, alpha=0.3)
            one(axes, "x")
            head(axes, title)
    return canvas.svg


PLOTS = {"serve": serve}
