# SPDX-License-Identifier: Apache-2.0
"""A page that a script writes from a table: writes it, or with --check says that it is another."""

import sys
from pathlib import Path
from typing import Callable

ROOT = Path(__file__).resolve().parent.parent


def run(arguments: list[str], usage: str | None, self_test: Callable[[], int], script: str, page: str, source: str,
        made: Callable[[], tuple[str | None, list[str]]]) -> int:
    """The exit status of `script` with these arguments: [], --check or --self-test.

    Args:
        script: its name in scripts/.
        page, source: paths from the root.
        made: gives the page's text, None where it cannot be made, and sentences of what is wrong.
    """
    if arguments == ["--self-test"]:
        return self_test()
    if arguments not in ([], ["--check"]):
        sys.exit(usage)
    text, wrong = made()
    file = ROOT / page
    if text is not None and not arguments:
        file.write_text(text, encoding="utf-8")
    elif text is not None and (not file.exists() or file.read_text(encoding="utf-8") != text):
        wrong.append(f"{page} must be written from {source}; run: python3 scripts/{script}")
    for sentence in wrong:
        print(sentence)
    return 1 if wrong else 0
