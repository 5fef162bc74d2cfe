#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_support.py REPOSITORY OCTAVO_PROGRAM

docs/support.toml says what the library says: its backends are those of `octavo info`, or of another architecture; a product's cell
is "no" where the backend refuses its problem lines, and not where it takes them (`octavo explain`, backends of this machine);
schemes are those of `octavo schemes`. Exit status 1 and what differs.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Iterator

ELSEWHERE = {"neon", "sve", "avx512", "avx2"}  # of one architecture each


def asked(program: str, *words: str) -> list[dict[str, Any]]:
    done = subprocess.run([program, *words, "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"docs/support.toml: `octavo {' '.join(words)}` must work; it says {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def differences(table: dict[str, Any], program: str) -> Iterator[str]:
    built = {row["name"]: row["usable"] for row in asked(program, "info") if row["type"] == "backend"}
    column_of = {row["name"]: row["column"] for row in table["backends"]}
    for name in sorted(built.keys() - column_of.keys()):
        yield f"backends must have a row {name}, which octavo info lists"
    for name in sorted(column_of.keys() - built.keys() - ELSEWHERE):
        yield f"backends must be those of octavo info; got {name}"
    compared = 0
    for product in table["products"]:
        for line in product["lines"]:
            for row in asked(program, "explain", line):
                if row["type"] != "candidate" or not built[row["backend"]]:
                    continue
                compared += 1
                cell = product[column_of[row["backend"]]]
                if row["accepts"] != (cell != "no"):
                    yield f"{product['name']}, {row['backend']}: got {cell!r} where octavo explain \"{line}\" says: {row['reason']}"
    if not compared:
        yield "no cell was compared"
    real = [(row["name"], row["format"], row["loaders"]) for row in asked(program, "schemes")]
    shown = [(row["name"], row["format"], row["loaders"]) for row in table["schemes"]]
    if shown != real:
        yield f"schemes must be those of octavo schemes, {real}; got {shown}"


def main(repository: Path, program: str) -> int:
    found = list(differences(tomllib.loads((repository / "docs" / "support.toml").read_text(encoding="utf-8")), program))
    for sentence in found:
        print(f"docs/support.toml: {sentence}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
