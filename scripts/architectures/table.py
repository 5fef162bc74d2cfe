# SPDX-License-Identifier: Apache-2.0
"""Trees of names whose equal branches are kept once, and the text of all of them."""

from collections.abc import Iterable, Mapping
from typing import Any

Tree = dict[str, Any]  # a part of a name -> a kind, a Tree
LEAF = ""  # the key of a tree's own kind, where a parameter's name begins others


def tree_of(kinds: Mapping[str, str]) -> Tree:
    """Names by their parts. Children with numbers are one, "*", where what they hold agrees."""
    root: Tree = {}
    for name, kind in kinds.items():
        at = root
        for part in name.split("."):
            at = at.setdefault(part, {})
        at[LEAF] = kind
    return _starred(root)


def _starred(tree):
    children = {part: child if part == LEAF else _starred(child) for part, child in tree.items()}
    numbers = [part for part in children if part.isdigit()]
    merged: Any = {}
    for number in numbers:
        merged = _union(merged, children[number])
        if merged is None:
            return children  # numbers that mean different things keep their own
    rest = {part: child for part, child in children.items() if part not in numbers}
    return {**rest, "*": merged} if numbers else rest


def _union(a, b):
    """Both trees in one; None where they say different things of one name."""
    made = dict(a)
    for part, child in b.items():
        if part not in made:
            made[part] = child
        elif part == LEAF:
            if made[part] != child:
                return None
        elif (both := _union(made[part], child)) is None:
            return None
        else:
            made[part] = both
    return made


class Trees:
    """Trees by number; branches that are alike have one number."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[tuple[str, str], ...], int] = {}

    def number(self, tree: Tree) -> int:
        row = []
        for part, child in sorted(tree.items()):
            if part == LEAF:
                row.append(("=", child))
            elif set(child) == {LEAF}:
                row.append((part, child[LEAF]))
            else:
                row.append((part, str(self.number(child))))
        return self._numbers.setdefault(tuple(row), len(self._numbers))

    def lines(self) -> Iterable[str]:
        """A line for each tree, in the order of their numbers: names, each with a kind or the number of a tree."""
        for row in self._numbers:
            yield " ".join(f"{part} {value}" for part, value in row)
