# SPDX-License-Identifier: Apache-2.0
"""Which scheme each layer gets: one for all, or the first pattern that its name matches."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ... import _octavo
from ..layers._schemes import SchemeArgument
from ._names import check_expression, check_patterns, first_match, spellings


class Chosen(NamedTuple):
    """A layer's scheme, or why it has none."""

    scheme: str | None
    reason: str


class SchemeChoice:
    """schemes: those that layers may get, each once.

    Raises:
        ValueError: an unknown scheme, a mapping without rows, a pattern that is no string.
    """

    def __init__(self, operation: str, given: SchemeArgument) -> None:
        self._operation = operation
        self._one = None if isinstance(given, Mapping) else _octavo.canonical_scheme(given)
        self._rows: dict[str, str | None] = {}
        if isinstance(given, Mapping):
            if not given:
                raise ValueError(f"{operation}: scheme must have a pattern for at least one layer; got an empty mapping")
            for pattern, scheme in given.items():
                if not isinstance(pattern, str):
                    raise ValueError(f"{operation}: scheme's keys must be names of layers or \"re:...\"; got {pattern!r}")
                check_expression(operation, f"scheme[{pattern!r}]", pattern)
                self._rows[pattern] = None if scheme is None else _octavo.canonical_scheme(scheme)
        self._used: set[str] = set()
        self.schemes = tuple(dict.fromkeys(filter(None, (self._one, *self._rows.values()))))

    @property
    def name(self) -> str:
        """For a reader: the scheme, or "mixed"."""
        return self.schemes[0] if len(self.schemes) == 1 else "mixed"

    @property
    def given(self) -> "str | dict[str, str | None]":
        """What it was made of, in Octavo's own names."""
        return dict(self._rows) if self._one is None else self._one

    @property
    def is_mapping(self) -> bool:
        return self._one is None

    def of(self, path: str) -> Chosen:
        """That of the layer of a model at a path."""
        if self._one is not None:
            return Chosen(self._one, "")
        pattern = next(filter(None, (first_match(name, self._rows) for name in spellings(path))), None)
        if pattern is None:
            return Chosen(None, "no pattern of scheme matches it")
        self._used.add(pattern)
        scheme = self._rows[pattern]
        return Chosen(scheme, "" if scheme else f'scheme has None for "{pattern}"')

    def check(self, names: Sequence[str]) -> None:
        """ValueError for a pattern that decides for no layer; after `of` was asked for all that are quantised.

        names: those of the model's modules.
        """
        check_patterns(self._operation, tuple(self._rows), names, "scheme")
        for pattern in self._rows:
            if pattern not in self._used:
                raise ValueError(f"{self._operation}: scheme[{pattern!r}] must decide for a layer; got none (ignore leaves what it matches, "
                                 "a pattern before it takes them, or they are no layers that can be quantised)")


def not_converted(names: Iterable[str]) -> list[str]:
    """transformers' modules_to_not_convert as patterns: a regular expression from the start up to the end of a module's name, which
    takes all that is in the module, or the end of a name."""
    return [rf"re:(?:{name})(?:(?<=\.)|(?=\.|$))|.*{re.escape(name)}$" for name in names]
