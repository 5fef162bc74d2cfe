# SPDX-License-Identifier: Apache-2.0
"""Layers by name: what quantise leaves in float, and what a list of patterns means."""

import difflib
import re
from collections.abc import Iterable, Sequence

__all__ = ["LEFT_IN_FLOAT", "check_expression", "check_patterns", "first_match", "spellings"]

# What stays in float unless a caller gives a list of their own: output heads, and what routes tokens to experts.
# Embeddings and norms are no linear layers.
LEFT_IN_FLOAT = ("lm_head", "embed_out", "score", "classifier", "qa_outputs", "cls.predictions.decoder",
                 "router", "gate", "shared_expert_gate", r"re:.*\brouter\.(classifier|layer|proj)$", r"re:.*\bgate\.wg$")


def first_match(path: str, patterns: Iterable[str]) -> str | None:
    """The first pattern that a layer's name matches: the name itself, its last parts, or "re:..." matched from
    the start of the name."""
    for pattern in patterns:
        if pattern.startswith("re:"):
            if re.match(pattern[3:], path):
                return pattern
        elif path == pattern or path.endswith("." + pattern):
            return pattern
    return None


def spellings(path: str) -> list[str]:
    """A layer's name, and what it is called without PEFT's adapters around it."""
    inner = ".".join(part for part in path.split(".") if part not in ("base_layer", "original_module"))
    return list(dict.fromkeys((path, inner, inner.removeprefix("base_model.model."))))


def check_expression(operation: str, where: str, pattern: str) -> None:
    """ValueError where a pattern is a regular expression that is none."""
    if pattern.startswith("re:"):
        try:
            re.compile(pattern[3:])
        except re.error as error:
            raise ValueError(f"{operation}: {where} must be a regular expression behind 're:' ({error}); got {pattern!r}") from None


def check_patterns(operation: str, patterns: Sequence[str], names: Sequence[str], argument: str = "ignore") -> None:
    """ValueError where a pattern matches none of the names, with the nearest one that exists."""
    for i, pattern in enumerate(patterns):
        where = f"{argument}[{i}]" if argument == "ignore" else f"{argument}[{pattern!r}]"
        check_expression(operation, where, pattern)
        if any(first_match(name, (pattern,)) for name in names):
            continue
        near = nearest(pattern, names)
        hint = f" (nearest: {near!r})" if near else ""
        raise ValueError(f"{operation}: {where} must match a layer; got {pattern!r}{hint}")


def nearest(pattern: str, names: Iterable[str]) -> str | None:
    """The name, or end of one, that is spelt most like a pattern; None where none comes near."""
    parts = pattern.count(".") + 1
    names = list(names)
    ends = {".".join(name.split(".")[-parts:]) for name in names} | set(names)
    found = difflib.get_close_matches(pattern.removeprefix("re:"), sorted(ends), 1, 0.5)
    return found[0] if found else None
