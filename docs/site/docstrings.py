# SPDX-License-Identifier: Apache-2.0
"""Docstrings as reStructuredText: words in backticks are code, all other marks are themselves; examples stay."""

import inspect
import re

from sphinx.application import Sphinx

NAME_WITH_UNDERSCORE = re.compile(r"(?<=\w)_(?!\w)")
SIGNATURE = re.compile(r"\w+\(.*\)( -> .*)?")  # the first line of what the extension module has


def sentence(line: str) -> str:
    """A line that is no example."""
    parts = line.split("`")
    for i in range(0, len(parts), 2):
        parts[i] = NAME_WITH_UNDERSCORE.sub(r"\\_", re.sub(r"([\\|*])", r"\\\1", parts[i]))
    return ("``" if len(parts) % 2 else "`").join(parts)


def summary(value: object) -> str:
    """The first sentence of a docstring."""
    lines = (inspect.getdoc(value) or "").split("\n")
    if SIGNATURE.fullmatch(lines[0]):
        lines = lines[1:]
    paragraph = " ".join(lines).strip() if "" not in lines else " ".join("\n".join(lines).strip().split("\n\n")[0].split("\n"))
    return sentence(re.split(r"(?<=[.])\s+(?=[A-Z])", paragraph)[0])


class Docstrings:
    """Sphinx's hooks around napoleon, which takes what stands before a property's colon for its type."""

    def __init__(self) -> None:
        self.held: dict[str, list[str]] = {}

    def before(self, _app: object, what: str, name: str, _value: object, _options: object, lines: list[str]) -> None:
        inside = False
        for i, line in enumerate(lines):
            inside = line.lstrip().startswith(">>>") or (inside and bool(line.strip()))
            lines[i] = line if inside else sentence(line)
        if what in ("property", "attribute"):
            self.held[name] = list(lines)
            lines[:] = ["-"]

    def after(self, _app: object, _what: str, name: str, _value: object, _options: object, lines: list[str]) -> None:
        if name in self.held:
            lines[:] = self.held.pop(name)

    def connect(self, app: Sphinx) -> None:
        app.connect("autodoc-process-docstring", self.before, priority=400)
        app.connect("autodoc-process-docstring", self.after, priority=600)
