#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_figures.py REPOSITORY

Figures that a page takes over from others are in them: every decimal number of a page of TAKEN stands in one of its
sources. Left out: versions, which stand behind a name; code; the README but for its table of speeds; the table of
schemes, which check_cli.py compares. Exit status 1 and what is nowhere.
"""

import re
import sys
from pathlib import Path

SPEEDS = ("docs/performance.md", "docs/llm-int8.md")
TAKEN = {
    "README.md": SPEEDS,
    "docs/compare.md": SPEEDS,
    "docs/guides/training.md": SPEEDS,
    "docs/schemes.md": ("docs/accuracy.md", *SPEEDS),
}
FIGURE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)")
NO_FIGURE = re.compile(r"^```.*?^```|(?:bitsandbytes|PyTorch|oneDNN|ggml|PEFT) \d+(?:\.\d+)+", re.MULTILINE | re.DOTALL)


def figures(page: str, text: str) -> list[str]:
    if page == "README.md":
        text = "\n".join(line for line in text.splitlines() if re.match(r"\| \d+ \|", line))
    if page == "docs/schemes.md":
        text = "\n".join(line for line in text.splitlines() if not line.startswith("| `"))
    return FIGURE.findall(NO_FIGURE.sub("", text))


def main(repository: Path) -> int:
    good = True
    for page, sources in TAKEN.items():
        known = {figure for name in sources for figure in re.findall(r"\d+\.\d+", (repository / name).read_text(encoding="utf-8"))}
        shown = figures(page, (repository / page).read_text(encoding="utf-8"))
        if not shown:
            print(f"{page}: must show figures; got none")
            good = False
        for figure in shown:
            if figure not in known:
                print(f"{page}: {figure} must be a figure of {' or '.join(sources)}")
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
