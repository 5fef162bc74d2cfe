#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: check_figures.py REPOSITORY

Figures that a page takes over from others are in them: every decimal number of a page of TAKEN stands in one of its
sources, which are pages and committed results. Left out: versions, which stand behind a name; code; the README but for its table of speeds; the table of
schemes, which check_cli.py compares. Exit status 1 and what is nowhere.
"""

import re
import sys
from pathlib import Path

RESULTS = ("bench/results/*.md", "bench/results/data/*.csv")
SPEEDS = ("docs/performance.md", "docs/llm-int8.md")
TAKEN = {
    "README.md": SPEEDS,
    "docs/performance.md": RESULTS,
    "docs/guides/ranks.md": RESULTS,
    "docs/compare.md": (*SPEEDS, *RESULTS),
    "docs/guides/training.md": SPEEDS,
    "docs/schemes.md": ("docs/accuracy.md", *SPEEDS),
}
FIGURE = re.compile(r"(?<![\w.])\d+\.\d+(?![\w.]*\d)")
NO_FIGURE = re.compile(r"^```.*?^```|(?:bitsandbytes|PyTorch|oneDNN|ggml|PEFT|AOCL-DLP|zentorch|kt-kernel) \d+(?:\.\d+)+", re.MULTILINE | re.DOTALL)


def figures(page: str, text: str) -> list[str]:
    if page == "README.md":
        text = "\n".join(line for line in text.splitlines() if re.match(r"\| \d+ \|", line))
    if page == "docs/schemes.md":
        text = "\n".join(line for line in text.splitlines() if not line.startswith("| `"))
    return FIGURE.findall(NO_FIGURE.sub("", text))


def main(repository: Path) -> int:
    good = True
    for page, sources in TAKEN.items():
        files = [path for name in sources for path in repository.glob(name)]
        known = {figure for path in files for figure in re.findall(r"\d+\.\d+", path.read_text(encoding="utf-8"))}
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
