# SPDX-License-Identifier: Apache-2.0
"""Granularities by the lines of the matrix that is given: "row" and "column", whichever side of a product it is."""

from ._typing import Side

_LINES: dict[str, tuple[str, Side]] = {"row": ("token", "a"), "column": ("channel", "b")}


def by_lines(granularity: str, side: Side) -> tuple[str, Side]:
    """The granularity and the side that mean it, of "row" and "column"; others as they are."""
    return _LINES.get(granularity, (granularity, side)) if type(granularity) is str else (granularity, side)
