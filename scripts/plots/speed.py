# SPDX-License-Identifier: Apache-2.0
"""Plots of speeds."""

from .canvas import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, VERMILION, Canvas, head, label_ends, line, one, ticks
from .figures import RESULTS, beside, rows, table, times

TORCH, LLM = "amd-epyc-zen5-torch.md", "amd-epyc-zen5-llm-int8.md"
MACHINES = {"Zen 5": VERMILION, "Zen 4": BLUE, "Zen 3": GREEN, "AMX": PURPLE}
TYPES = ("int8", "fp8", "bfloat16")


def layer() -> str:
    """One layer beside PyTorch and bitsandbytes."""
    with Canvas("One layer of 4096 x 4096 on two Zen 5 cores: milliseconds of Octavo, PyTorch and bitsandbytes", 3, 4.6, left=0.4, right=0.92) as canvas:
        for axes, m in zip(canvas.axes, (1, 16, 256)):
            shape = f"bfloat16 in and out, {m}x4096x4096"
            int8, bfloat16 = beside(TORCH, f"Int8Linear, {shape}", "F.linear bf16")
            fp8, _ = beside(TORCH, f"Fp8Linear, {shape}", "F.linear bf16")
            ours, theirs = beside(LLM, f"Linear8bitLt, threshold 6, eval mode, bfloat16, {m}x4096x4096", "bitsandbytes")
            bars = (("Octavo, int8", int8, VERMILION), ("Octavo, fp8", fp8, ORANGE), ("PyTorch, bfloat16", bfloat16, GREY),
                    ("Octavo, LLM.int8()", ours, VERMILION), ("bitsandbytes, LLM.int8()", theirs, GREY))
            places = (0, 1, 2, 3.5, 4.5)
            axes.barh(places, [us / 1000 for _, us, _ in bars], color=[colour for _, _, colour in bars], height=0.8)
            for place, (_, us, _) in zip(places, bars):
                axes.annotate(f"{us / 1000:.2f}", (us / 1000, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
            axes.set_yticks(places, [name for name, _, _ in bars])
            axes.invert_yaxis()
            axes.grid(False)
            axes.xaxis.set_visible(False)
            axes.spines["bottom"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            head(axes, f"{m} token{'s' if m > 1 else ''}, ms")
    return canvas.svg


def _amx(kind: str) -> list[tuple[float, float]]:
    """Shares of the peak from 256 rows on, where arithmetic is the bound."""
    packed = [row for row in rows("amx") if row["weight"] == "packed" and row["type"] == kind and int(row["rows"]) >= 256]
    return [(float(row["rows"]), 2 * float(row["rows"]) * 4096**2 / (float(row["ms"]) * 1e9 * float(row["peak_tops"]))) for row in packed]


def shares() -> str:
    """Packed products over the number of rows: how much of the machine's limit."""
    found = [row for row in rows("shares") if row["weight"] == "packed"]
    with Canvas("Share of what one thread of the machine allows, packed weights of 4096 x 4096, over the number of rows", 3, 5.6, right=0.85) as canvas:
        for axes, kind in zip(canvas.axes, TYPES):
            ticks(axes, "x", (1, 4, 16, 64, 256, 1024))
            ticks(axes, "y", (0, 0.25, 0.5, 0.75, 1), logarithmic=False)
            axes.set_ylim(0, 1.1)
            axes.set_xlim(0.8, 1300)
            ends = []
            for machine, colour in MACHINES.items():
                points = [(float(r["rows"]), float(r["share"])) for r in found if r["machine"] == machine and r["type"] == kind]
                points = _amx(kind) if machine == "AMX" else points
                line(axes, points, colour)
                ends.append((1024.0, points[-1][1], machine))
            label_ends(axes, ends)
            head(axes, f"{kind}: share of the limit")
        canvas.axes[-1].set_xlabel("rows")
    return canvas.svg


def pytorch() -> str:
    """Products of weights as they lie, beside PyTorch's own."""
    found = [row for row in rows("beside-peers") if row["weight"] == "[N, K]" and row["peer"] != "AOCL-DLP"]
    colours = {"Zen 4": BLUE, "Zen 3": GREEN, "Emerald Rapids": PURPLE}
    with Canvas("Times as fast as PyTorch, weights of 4096 x 4096 that are not packed, over the number of rows", 2, 4.4, right=0.76) as canvas:
        for axes, kind in zip(canvas.axes, ("int8", "bfloat16")):
            ticks(axes, "x", (1, 4, 16, 64, 256, 1024))
            ticks(axes, "y", (0.5, 1, 2, 4, 8, 16, 32, 64))
            axes.set_xlim(0.8, 1300)
            axes.set_ylim(0.8, 64 if kind == "int8" else 10)
            lines = {name: [(float(r["rows"]), times(r)) for r in found if r["machine"] == name and r["type"] == kind] for name in colours}
            ends = []
            for name, points in lines.items():
                line(axes, [(x, t.value) for x, t in points], colours[name])
                for x, t in points:
                    if t.low is not None and t.high is not None:
                        axes.plot((x, x), (t.low, t.high), color=colours[name], linewidth=1)
                ends.append((points[-1][0], points[-1][1].value, name))
            label_ends(axes, ends)
            one(axes, "y", "equally fast")
            head(axes, f"{kind}: times as fast as PyTorch")
        canvas.axes[-1].set_xlabel("rows")
    return canvas.svg


def experts() -> str:
    """Mixtures beside kt-kernel and zentorch, with intervals."""
    found = rows("experts")
    with Canvas("Experts on one Zen 5 core: times as fast as kt-kernel and zentorch, with intervals of 95 %", 1, 2.5, left=0.4, right=0.95) as canvas:
        axes = canvas.axes[0]
        ticks(axes, "x", (0.75, 1, 1.5, 2, 3, 4))
        axes.set_xlim(0.75, 4.2)
        for place, row in enumerate(found):
            t, colour = times(row), VERMILION if row["experts"] == "int8" else BLUE
            axes.plot((t.low, t.high), (place, place), color=colour, linewidth=2)
            axes.plot(t.value, place, "o", color=colour, markersize=5)
            axes.annotate(f"{t.value:.2f}", (t.high or t.value, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
        axes.set_yticks(range(len(found)), [f"{row['experts'].split(',')[0]}, {row['peer'].split()[0]}, {row['tokens']}" for row in found])
        axes.invert_yaxis()
        one(axes, "x")
        axes.set_xlabel("times as fast")
        head(axes, "type, peer, tokens")
    return canvas.svg


def packed() -> str:
    """What packing is worth: speed of unpacked weights over that of packed ones."""
    found = {(r["machine"], r["type"], r["weight"], int(r["rows"])): float(r["share"]) for r in rows("shares")}
    counts, kinds = (1, 4, 16, 64, 256), [(kind, weight) for kind in TYPES for weight in ("[N, K]", "[K, N]")]
    with Canvas("Speed of unpacked weights over that of packed ones, by type, order and number of rows", 3, 6.0, left=0.27) as canvas:
        for axes, machine in zip(canvas.axes, ("Zen 5", "Zen 4", "Zen 3")):
            cells = [[found[machine, kind, weight, m] / found[machine, kind, "packed", m] for m in counts] for kind, weight in kinds]
            axes.pcolormesh(cells, cmap="cividis", vmin=0.4, vmax=1.2, linewidth=0)
            for y, values in enumerate(cells):
                for x, value in enumerate(values):
                    axes.annotate(f"{value:.2f}", (x + 0.5, y + 0.5), ha="center", va="center", fontsize=8, color="white" if value < 0.8 else "black")
            axes.set_xticks([x + 0.5 for x in range(len(counts))], [str(m) for m in counts])
            axes.set_yticks([y + 0.5 for y in range(len(kinds))], [f"{kind} {weight}" for kind, weight in kinds])
            axes.invert_yaxis()
            axes.grid(False)
            axes.tick_params(length=0)
            head(axes, f"{machine}: unpacked over packed")
        canvas.axes[-1].set_xlabel("rows")
    return canvas.svg


def h200() -> str:
    """Products on an H200 beside cuBLASLt and PyTorch."""
    found = [row for row in table(RESULTS / "nvidia-h200.md", "| M x N x K |")]
    found.sort(key=lambda row: (row[1].split()[0], -int(row[0].split()[0])))
    with Canvas("Products on an H200: times as fast as the best peer that does the same work, and that does less", 1, 3.6, left=0.44, right=0.95) as canvas:
        axes = canvas.axes[0]
        for place, row in enumerate(found):
            if row[4]:
                axes.plot(float(row[4]), place, "o", color=VERMILION if row[1] == "int8" else BLUE, markersize=6)
            axes.plot(float(row[6]), place, "o", markerfacecolor="none", markeredgecolor=INK, markersize=6)
        axes.set_yticks(range(len(found)), [f"{row[1]}, {row[0].replace(' ', '')}" for row in found])
        axes.invert_yaxis()
        ticks(axes, "x", (0.8, 1, 1.25, 1.5, 2, 2.5))
        axes.set_xlim(0.8, 2.7)
        one(axes, "x")
        head(axes, "filled: a peer of the same work, hollow: of less")
        axes.set_xlabel("times as fast")
    return canvas.svg


def ranks() -> str:
    """What `octavo plan` computes for two large models: simulated."""
    found, colours = rows("plan"), {"1": BLUE, "256": VERMILION}
    with Canvas("Simulated: milliseconds of a batch's linear layers over the number of H200 ranks, 200 Gb/s and 10 us a message", 2, 4.4, right=0.74) as canvas:
        for axes, model in zip(canvas.axes, ("llama-70b", "deepseek-v3")):
            ticks(axes, "x", (1, 2, 4, 8, 16, 32, 64))
            ticks(axes, "y", (1, 10, 100))
            axes.set_ylim(0.4, 500)
            ends = []
            for count, colour in colours.items():
                mine = [row for row in found if row["model"] == model and row["rows"] == count]
                for field, dashed, word in (("total_ms", False, "in all"), ("compute_ms", True, "compute")):
                    points = [(float(row["ranks"]), float(row[field])) for row in mine]
                    line(axes, points, colour, dashed)
                    ends.append((*points[-1], f"{count} row{'s' if count != '1' else ''}, {word}"))
            label_ends(axes, ends)
            head(axes, f"{model}, fp8: ms, simulated")
        canvas.axes[-1].set_xlabel("ranks")
    return canvas.svg


PLOTS = {"layer": layer, "shares": shares, "beside-pytorch": pytorch, "experts": experts, "packed": packed, "h200": h200, "ranks": ranks}
