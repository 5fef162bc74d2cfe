#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Usage: environment.py [--check | --self-test]

Writes docs/environment.md from the one list of environment variables, tools/octavo/products/environment.hpp.
--check: fails where the page is another, where a source or ./dev names a variable that is not in the list, and where a
row is named by none. In sources a variable is a string literal of its own, "OCTAVO_NAME".
"""

import re
import subprocess
import sys
from typing import Iterable, NamedTuple

import written_page
from written_page import ROOT

LIST = "tools/octavo/products/environment.hpp"
PAGE = "docs/environment.md"
SOURCES = ("*.cpp", "*.hpp", "*.h", "*.cu", "*.py")
SHELL = ("dev", "*.sh")
LITERAL = re.compile(r"""(["'])(OCTAVO_[A-Z0-9_]+)\1""")
EXPANSION = re.compile(r"\$\{?(OCTAVO_[A-Z0-9_]+)")
READERS = {"library": "the library", "command": "the command `octavo`", "Python": "the Python package"}
HEAD = """# Environment variables

Written by `python3 scripts/environment.py` from the list that `octavo info` prints. No other variable is read by Octavo's name.

| variable | read by | where it is not set | meaning |
|---|---|---|---|
"""
DEVELOPMENT = """
## Of development

Read by tests, examples and `./dev`.

| variable | where it is not set | meaning |
|---|---|---|
"""


class Variable(NamedTuple):
    name: str
    reader: str
    unset: str
    meaning: str


def variables(header: str) -> list[Variable]:
    """The rows of the list."""
    body = header[header.index("kVariables{{") + len("kVariables{{"):header.index("}};")]
    rows = []
    for row in re.findall(r"\{(.*?)\}", body, re.DOTALL):
        row = re.sub(r'"\s*\n\s*"', "", row).replace("kDevelopment", '"development"')
        rows.append(Variable(*re.findall(r'"([^"]*)"', row)))
    return rows


def page(rows: Iterable[Variable]) -> str:
    text, development = HEAD, DEVELOPMENT
    for row in rows:
        if row.reader == "development":
            development += f"| `{row.name}` | {row.unset} | {row.meaning} |\n"
        else:
            text += f"| `{row.name}` | {READERS[row.reader]} | {row.unset} | {row.meaning} |\n"
    return text + development


def named(text: str, shell: bool) -> set[str]:
    """Variables that a source or script names."""
    return set(EXPANSION.findall(text)) if shell else {name for _, name in LITERAL.findall(text)}


def tree() -> dict[str, set[str]]:
    """Where each variable is named."""
    found: dict[str, set[str]] = {}
    for patterns, shell in ((SOURCES, False), (SHELL, True)):
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
        for path in listed.stdout.split():
            if path in (LIST, "scripts/environment.py"):
                continue
            for name in named((ROOT / path).read_text(errors="replace"), shell):
                found.setdefault(name, set()).add(path)
    return found


def differences(rows: list[Variable], found: dict[str, set[str]]) -> list[str]:
    known = {row.name for row in rows}
    return ([f"{name} must be in {LIST}: {min(found[name])} names it" for name in sorted(found.keys() - known)] +
            [f"{name} must be read by something; it is only in {LIST}" for name in sorted(known - found.keys())])


def self_test() -> int:
    rows = variables('kVariables{{\n {"OCTAVO_A", "library", "none", "one "\n  "two"},\n {"OCTAVO_B", kDevelopment, "", "x"},\n}};')
    assert rows == [Variable("OCTAVO_A", "library", "none", "one two"), Variable("OCTAVO_B", "development", "", "x")], rows
    assert named('getenv("OCTAVO_A") + OCTAVO_API + \'OCTAVO_C\' + "OCTAVO_D=1"', False) == {"OCTAVO_A", "OCTAVO_C"}
    assert named("${OCTAVO_A:-} $OCTAVO_B OCTAVO_C=1", True) == {"OCTAVO_A", "OCTAVO_B"}
    assert differences(rows, {"OCTAVO_A": {"x"}, "OCTAVO_C": {"y"}}) == [
        f"OCTAVO_C must be in {LIST}: y names it", f"OCTAVO_B must be read by something; it is only in {LIST}"]
    assert "| `OCTAVO_A` | the library | none | one two |" in page(rows) and "| `OCTAVO_B` |  | x |" in page(rows)
    return 0


def made() -> tuple[str, list[str]]:
    rows = variables((ROOT / LIST).read_text())
    return page(rows), differences(rows, tree())


if __name__ == "__main__":
    sys.exit(written_page.run(sys.argv[1:], __doc__, self_test, "environment.py", PAGE, LIST, made))
