# SPDX-License-Identifier: Apache-2.0
"""Medians of cells as a table: rows of Octavo and of peers, and where Octavo loses, first."""

import csv
from pathlib import Path
from statistics import median
from typing import Any

from .table import MODELS, VARIANTS

CSV = Path(__file__).resolve().parents[1] / "results/data/serve.csv"
Cell = dict[str, Any]


def text(cells: list[Cell]) -> str:
    parts = []
    for threads in sorted({cell["threads"] for cell in cells}, reverse=True):
        for model in MODELS:
            chosen = [cell for cell in cells if cell["threads"] == threads and cell["model"] == model]
            if chosen:
                unit = "sentences/s" if MODELS[model].encoder else "tokens/s"
                parts += [f"\n{model}, {threads} thread{'s' * (threads > 1)}, {unit}", *_table(chosen, MODELS[model].cases), "", *_ratios(chosen)]
    return "\n".join(parts)


def _table(cells: list[Cell], cases: tuple[str, ...]) -> list[str]:
    lines = ["| engine | weights | head | " + " | ".join(cases) + " | load, s | memory, MB | perplexity | rounds |", "|---|---|---|" + "---:|" * (len(cases) + 4)]
    for variant in VARIANTS:
        found = [cell for cell in cells if cell["variant"] == variant.name]
        if not found:
            continue
        middle = lambda case: median(cell[case] for cell in found)  # noqa: E731, B023
        perplexity = f"{middle('perplexity'):.2f}" if "perplexity" in found[0] else ""
        figures = [f"{middle(case):.3g}" if middle(case) < 100 else f"{middle(case):.0f}" for case in cases]
        lines.append(f"| {variant.engine} | {variant.weights} | {variant.head} | " + " | ".join(figures) +
                     f" | {middle('load'):.1f} | {middle('memory') / 1e6:.0f} | {perplexity} | {len(found)} |")
    return lines


def ratios(cells: list[Cell]) -> list[tuple[float, float, float, str, str, str]]:
    """(median, least, largest, case, ours, theirs) of the paired ratios, least median first: the best of Octavo's variants by case."""
    by_round = {(cell["variant"], cell["round"]): cell for cell in cells}
    rounds = sorted({cell["round"] for cell in cells})
    found = []
    for case in MODELS[cells[0]["model"]].cases:
        ours = [variant.name for variant in VARIANTS if variant.ours and any(variant.name == name for name, _ in by_round)]
        middle = {name: median(by_round[name, turn][case] for turn in rounds if (name, turn) in by_round) for name in ours}
        if not middle:
            continue
        best = max(middle, key=lambda name: middle[name])
        for variant in VARIANTS:
            pairs = [by_round[best, turn][case] / by_round[variant.name, turn][case] for turn in rounds
                     if (best, turn) in by_round and (variant.name, turn) in by_round]
            if pairs and not variant.ours:
                found.append((median(pairs), min(pairs), max(pairs), case, best, variant.name))
    return sorted(found)


def _ratios(cells: list[Cell]) -> list[str]:
    return [f"{middle:5.2f} [{least:.2f}, {largest:.2f}]  {case:11} {ours} over {theirs}" for middle, least, largest, case, ours, theirs in ratios(cells)]


def write(cells: list[Cell]) -> None:
    """The medians and the extremes over the rounds, as bench/results/data/serve.csv."""
    with CSV.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("model", "threads", "variant", "case", "rounds", "value", "low", "high"))
        for threads in sorted({cell["threads"] for cell in cells}, reverse=True):
            for model in MODELS:
                for variant in VARIANTS:
                    found = [cell for cell in cells if (cell["threads"], cell["model"], cell["variant"]) == (threads, model, variant.name)]
                    for case in (*MODELS[model].cases, "load", "memory", "perplexity"):
                        values = [cell[case] for cell in found if case in cell]
                        if values:
                            rows.writerow((model, threads, variant.name, case, len(values), *(f"{each:.6g}" for each in (median(values), min(values), max(values)))))
