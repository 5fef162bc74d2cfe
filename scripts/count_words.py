#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts the words of docs/ and of the README, and of their sentences: count_words.py [--pages].

Left out are pages that scripts write, specification.md and c-api.md; of sentences, headings, tables, code and lists'
marks as well. --pages: a line for each page.
"""

import re
import sys
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"accuracy.md", "environment.md", "known-wrong.md", "models.md", "support.md", "specification.md", "c-api.md"}


def prose(text: str) -> str:
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if not re.match(r"#|\||    |!\[", line)]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", "\n".join(lines))
    return re.sub(r"^[-*] |^\d+\. ", "\n", text, flags=re.MULTILINE)


def sentences(text: str) -> list[int]:
    """How many words each has."""
    blocks = re.split(r"\n\s*\n", prose(text))
    found = [part.split() for block in blocks for part in re.split(r"(?<=[.!?:;])\s+(?=[A-Z`\"(])", " ".join(block.split()))]
    return [len(words) for words in found if len(words) > 2]


def main() -> int:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    pages = [page for page in pages if page.name not in LEFT_OUT]
    texts = {page: page.read_text(encoding="utf-8") for page in pages}
    if sys.argv[1:] == ["--pages"]:
        for page, text in texts.items():
            lengths = sentences(text)
            print(f"{len(text.split()):6}  {mean(lengths) if lengths else 0:5.1f}  {page.relative_to(ROOT)}")
    lengths = [n for text in texts.values() for n in sentences(text)]
    words = sum(len(text.split()) for page, text in texts.items() if page.name != "README.md")
    print(f"docs/: {words} words; a sentence has {mean(lengths):.1f} on average, {sum(n > 25 for n in lengths)} of {len(lengths)} more than 25")
    return 0


if __name__ == "__main__":
    sys.exit(main())
