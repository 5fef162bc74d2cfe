#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Functions drawn at random: does a stranger find them?
"""Usage: draw_functions.py [--count N] [--seed TEXT]

Draws functions of src, python, tools, kit and bench by the hash of the commit (or a seed), and names each with its
file. Whoever reviews the house says in which room DESIGN.md would make him look, and compares.
"""

import argparse
import random
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPP = re.compile(r"^(?:template <[^\n]*>\n)?(?:inline |constexpr |static )*[\w:<>&*, ]+?[ &*]([a-z_]\w+)\([^;{]*\)(?: const)?(?: noexcept)? \{", re.MULTILINE)
PYTHON = re.compile(r"^(?:    )?def ([a-z_]\w+)\(", re.MULTILINE)
KEYWORDS = {"if", "for", "while", "switch", "return"}


def functions() -> list[str]:
    files = subprocess.run(["git", "ls-files", "src", "python", "tools", "kit", "bench"], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    found = []
    for file in files:
        pattern = {".cpp": CPP, ".hpp": CPP, ".py": PYTHON}.get(Path(file).suffix)
        if pattern:
            text = (ROOT / file).read_text(encoding="utf-8")
            found += [f"{name[1]}  {file}" for name in pattern.finditer(text) if name[1] not in KEYWORDS]
    return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", help="default: the hash of the commit")
    arguments = parser.parse_args()
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    for line in random.Random(arguments.seed or head).sample(functions(), arguments.count):
        print(line)


if __name__ == "__main__":
    main()
