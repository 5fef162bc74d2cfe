# SPDX-License-Identifier: Apache-2.0
"""Medians of cells as tables: rows of Octavo and of peers, and the best row of Octavo over each peer, where it loses first."""

import csv
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import machine

from .table import MODELS, VARIANTS, Variant

RESULTS = Path(__file__).resolve().parents[1] / "results"
Cell = dict[str, Any]


class Ratio(NamedTuple):
    """Paired ratios of rounds: Octavo's best variant of a case over a peer."""

    middle: float
    least: float
    largest: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} [{self.least:.2f}, {self.largest:.2f}]"


def text(cells: list[Cell]) -> str:
    parts = []
    for threads in sorted({cell["threads"] for cell in cells}, reverse=True):
        for name, model in MODELS.items():
            chosen = [cell for cell in cells if cell["threads"] == threads and cell["model"] == name]
            if chosen:
                unit = "sentences/s" if model.encoder else "tokens/s"
                parts += [f"\n## {name}, {threads} thread{'s' * (threads > 1)}, {unit}\n", *_table(chosen, model.cases), "",
                          *_ratios(chosen, model.cases)]
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


def ratios(cells: list[Cell], case: str) -> dict[str, Ratio]:
    """Of one model and number of threads, by peer: the variant of Octavo with the best median over each peer in the same rounds."""
    by_round = {(cell["variant"], cell["round"]): cell[case] for cell in cells}
    values = {variant.name: {turn: value for (name, turn), value in by_round.items() if name == variant.name} for variant in VARIANTS}
    ours = [variant.name for variant in VARIANTS if variant.ours and values[variant.name]]
    if not ours:
        return {}
    best = values[max(ours, key=lambda name: median(values[name].values()))]
    found = {}
    for variant in VARIANTS:
        pairs = [best[turn] / value for turn, value in values[variant.name].items() if turn in best]
        if pairs and not variant.ours:
            found[variant.name] = Ratio(median(pairs), min(pairs), max(pairs))
    return found


def _ratios(cells: list[Cell], cases: tuple[str, ...]) -> list[str]:
    by_case = [ratios(cells, case) for case in cases]
    peers = [variant for variant in VARIANTS if variant.name in by_case[0]]
    peers.sort(key=lambda peer: min(found[peer.name].middle for found in by_case))
    return [] if not peers else [
        "| Octavo's best row over | " + " | ".join(cases) + " |", "|---|" + "---:|" * len(cases),
        *(f"| {_named(peer)} | " + " | ".join(str(found[peer.name]) for found in by_case) + " |" for peer in peers)]


def _named(peer: Variant) -> str:
    return f"{peer.engine}, {peer.weights}"


def write(cells: list[Cell]) -> None:
    """The medians and the extremes over the rounds as results/data/serve.csv, and the tables as a page of this machine."""
    with (RESULTS / "data/serve.csv").open("w", newline="", encoding="utf-8") as file:
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
    cpu = machine.cpu_fields()["model name"]
    versions = sorted({f"{name} {version}" for cell in cells for name, version in cell["notes"].items()})
    (RESULTS / f"{machine.file_name(cpu)}-serve.md").write_text(
        f"# Whole models on {cpu} ({machine.generation()})\n\n"
        f"Octavo of {machine.commit()}; `./dev bench --serve`; {', '.join(versions)}. Medians; the last column says of how many rounds, engines in turn. "
        "Ratios are those of one round, with the least and the largest in brackets. Weights of all models but SmolLM2 and MiniLM are random.\n"
        f"{text(cells)}\n", encoding="utf-8")
