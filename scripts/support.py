#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: support.py [--check | --self-test]

Writes docs/support.md from docs/support.toml. --check: fails where the page is another, where a row lacks a field or has one that
is not known, and where a version is not that of its pin in tests/python/requirements.txt or torch.txt.
"""

import re
import sys
import tomllib
from typing import Any

import written_page
from written_page import ROOT

TABLE = "docs/support.toml"
PAGE = "docs/support.md"
PINS = ("tests/python/requirements.txt", "tests/python/torch.txt")
COLUMNS = ("avx512", "avx2", "Arm", "generic", "sm90", "sm80", "cuda")  # of products
FIELDS = {"platforms": ("name", "status", "limits"), "backends": ("name", "column", "needs", "status"),
          "products": ("name", "lines", *COLUMNS), "parts": ("name", "status"), "schemes": ("name", "format", "loaders"),
          "versions": ("name", "version")}
OPTIONAL = {"versions": {"pin", "also"}}
HEAD = """# What works where

Written by `python3 scripts/support.py` from [support.toml](support.toml), which tests hold to the library. `octavo info` says what
this build has on this machine, `octavo explain LINE` what runs a product and why. Speed: [performance](performance.md).

"""
GRID = """
## Products

✓: yes. –: `generic`, on a device `cuda`, takes it. Else the limit; beyond it they take it, too. `reference` takes all that `generic` does.
Weights that can be packed are int8 and floats.

"""


def markdown(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n".replace("| --- ", "|---").replace("|--- |", "|---|") for cells in lines)


def page(table: dict[str, list[dict[str, Any]]]) -> str:
    def rows(kind: str, *fields: str) -> list[tuple[str, ...]]:
        return [tuple(str(row.get(field, "")) for field in fields) for row in table[kind]]

    def mark(cell: str) -> str:
        return {"yes": "✓", "no": "–"}.get(cell, re.sub("^yes, ", "✓ ", cell))

    grid = [(row["name"], *(mark(row[column]) for column in COLUMNS)) for row in table["products"]]
    backends = [(f"`{name}`", needs, status) for name, needs, status in rows("backends", "name", "needs", "status")]
    schemes = [(f"`{name}`", form, f"Octavo, {loaders}") for name, form, loaders in rows("schemes", "name", "format", "loaders")]
    return (HEAD + markdown(("platform", "status", ""), rows("platforms", "name", "status", "limits")) +
            "\n## Backends\n\n" + markdown(("backend", "needs", "status"), backends) +
            GRID + markdown(("", *(f"`{column}`" if column != "Arm" else "`neon`, `sve`" for column in COLUMNS)), grid) +
            "\n## Interfaces\n\n" + markdown(("part", "status"), rows("parts", "name", "status")) +
            "\n## Folders\n\nWhat Octavo writes, and what loads it ([proof](checkpoints.md#folders-that-octavo-writes-in-other-tools)):\n\n" +
            markdown(("scheme", "format", "loaded by"), schemes) +
            "\n## Versions\n\nTests run with these; others may work, but nobody ran them.\n\n" +
            markdown(("", "version", "also"), rows("versions", "name", "version", "also")))


def pins(texts: list[str]) -> dict[str, str]:
    """Versions of packages by name."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", "\n".join(texts), re.MULTILINE))


def differences(table: dict[str, list[dict[str, Any]]], pinned: dict[str, str]) -> list[str]:
    wrong = [f"{TABLE}: {kind} must be among {', '.join(FIELDS)}" for kind in table.keys() - FIELDS.keys()]
    for kind, fields in FIELDS.items():
        for row in table.get(kind, []):
            if not set(fields) <= row.keys() <= set(fields) | OPTIONAL.get(kind, set()):
                wrong.append(f"{TABLE}: a row of {kind} must have {', '.join(fields)}; got {', '.join(row)}")
    for row in table.get("versions", []):
        if "pin" in row and not f"{pinned.get(row['pin'], 'none')}.".startswith(f"{row['version']}."):
            wrong.append(f"{TABLE}: the version of {row['name']} must be that of {row['pin']} in the tests' requirements, "
                         f"{pinned.get(row['pin'], 'none')}; got {row['version']}")
    return wrong


def self_test() -> int:
    table = {"versions": [{"name": "A", "version": "2.1", "pin": "a"}, {"name": "B", "version": "2.1", "pin": "a"}], "platforms": [{"name": "x"}]}
    assert len(differences(table, {"a": "2.13.0"})) == 3, differences(table, {"a": "2.13.0"})
    assert len(differences(table, {"a": "2.1.3"})) == 1
    assert pins(["a==1.2.3 \\\n    --hash=sha256:0\nb-c==4"]) == {"a": "1.2.3", "b-c": "4"}
    assert markdown(("a", "b"), [("1", "")]) == "| a | b |\n|---|---|\n| 1 |  |\n", markdown(("a", "b"), [("1", "")])
    return 0


def made() -> tuple[str | None, list[str]]:
    table = tomllib.loads((ROOT / TABLE).read_text(encoding="utf-8"))
    wrong = differences(table, pins([(ROOT / name).read_text(encoding="utf-8") for name in PINS]))
    return None if wrong else page(table), wrong


if __name__ == "__main__":
    sys.exit(written_page.run(sys.argv[1:], __doc__, self_test, "support.py", PAGE, TABLE, made))
