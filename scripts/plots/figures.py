# SPDX-License-Identifier: Apache-2.0
"""Committed figures, as plots read them: bench/results/data and tables of pages that scripts write. What is missing, or there twice, is an error."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results"

Row = dict[str, str]


class Times(NamedTuple):
    """How many times as fast Octavo is, with an interval where the figure has one."""

    value: float
    low: float | None
    high: float | None


def rows(name: str) -> list[Row]:
    """Of a file of bench/results/data."""
    with (RESULTS / "data" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def times(row: Row) -> Times:
    low, high = row.get("low"), row.get("high")
    return Times(float(row["times"]), float(low) if low else None, float(high) if high else None)


def table(page: Path, head: str) -> list[list[str]]:
    """The cells of the one table of a page whose first line begins with `head`."""
    parts = re.findall(rf"^{re.escape(head)}.*\n\|[ :|-]+\n((?:\|.*\n)+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    if len(parts) != 1:
        raise ValueError(f"plots: {page.name} must have one table that begins {head!r}; got {len(parts)}")
    return [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in parts[0].splitlines()]


def beside(page: str, problem: str, peer: str) -> tuple[float, float]:
    """Microseconds of Octavo and of a peer in the one row of a page of bench/results."""
    found = [cells for cells in table(RESULTS / page, "| problem | us |") if cells[0] == problem and cells[3] == peer]
    if len(found) != 1:
        raise ValueError(f"plots: {page} must have one row {problem!r} beside {peer!r}; got {len(found)}")
    return float(found[0][1]), float(found[0][4])
