# SPDX-License-Identifier: Apache-2.0
"""Docstrings as reStructuredText: words in backticks are code, all other marks are themselves; examples stay."""

import re

NAME_WITH_UNDERSCORE = re.compile(r"(?<=\w)_(?!\w)")


def sentence(line: str) -> str:
    """A line that is no example."""
    parts = line.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = NAME_WITH_UNDERSCORE.sub(r"\\_", re.sub(r"([\\|*])", r"\\\1", parts[i]))
    return ("``" if len(parts) % 2 else "`").join(parts)


def as_rst(_app: object, _what: str, _name: str, _value: object, _options: object, lines: list[str]) -> None:
    """Sphinx's hook: changes the lines in place."""
    inside = False
    for i, line in enumerate(lines):
        inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
        lines[i] = line if inside else sentence(line)
