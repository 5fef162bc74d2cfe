#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_figures.py REPOSITORY

Figures that a page takes over from another are in it: every decimal number of docs/compare.md, and of the table of
speeds in README.md, stands in docs/performance.md or docs/llm-int8.md. Versions, which stand behind a name, are no
figures. Exit status 1 and what is nowhere.
"""

import re
import sys
from pathlib import Path

SOURCES = ("performance.md", "llm-int8.md")
FIGURE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)")
VERSION = re.compile(r"(?:bitsandbytes|PyTorch|oneDNN|ggml) \d+(?:\.\d+)+")


def figures(text: str) -> list[str]:
    return FIGURE.findall(VERSION.sub("", text))


def main(repository: Path) -> int:
    docs = repository / "docs"
    known = {figure for name in SOURCES for figure in re.findall(r"\d+\.\d+", (docs / name).read_text(encoding="utf-8"))}
    readme = (repository / "README.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in readme.splitlines() if re.match(r"\| \d+ \|", line))
    shown = {"docs/compare.md": figures((docs / "compare.md").read_text(encoding="utf-8")), "README.md": figures(table)}
    good = True
    for page, numbers in shown.items():
        if len(numbers) < 9:
            print(f"{page}: must show figures; got {len(numbers)}")
            good = False
        for number in numbers:
            if number not in known:
                print(f"{page}: {number} must be a figure of {' or '.join('docs/' + name for name in SOURCES)}")
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
