# SPDX-License-Identifier: Apache-2.0
"""Names of a class's files and what the class calls them."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from transformers import PretrainedConfig
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (MergeModulelist, WeightConverter, WeightRenaming, rename_source_key,
                                             revert_weight_conversion)


class Stored(NamedTuple):
    """A tensor of a file, without ".weight"."""

    module: str  # what the class calls it
    kind: str  # of KINDS


def stored(model: torch.nn.Module, kinds: Mapping[str, str]) -> dict[str, Stored]:
    """The tensors that save_pretrained writes, where their names or their division are other than the model's."""
    own = model.state_dict()
    written = revert_weight_conversion(model, dict(own))
    if set(written) == set(own):
        return {}
    table = get_model_conversion_mapping(model, add_legacy=False)
    renamings = [t for t in table if isinstance(t, WeightRenaming)]
    converters = [t for t in table if isinstance(t, WeightConverter)]
    by_pattern = {pattern: t for t in converters for pattern in t.source_patterns}
    found: dict[str, Stored] = {}
    for key, tensor in written.items():
        name, pattern = rename_source_key(key, renamings, converters, model.base_model_prefix, own)
        if name not in own and key in own:
            name, pattern = key, None
        short, module = key.removesuffix(".weight"), name.removesuffix(".weight")
        if tensor.ndim not in (2, 3) or "bias" in key.rpartition(".")[2]:
            continue
        kind = kinds.get(module, "P")
        if pattern is not None:
            kind = "Z" if _stacks(by_pattern[pattern]) and kind in "XI" and tensor.ndim == 2 else "M"
        found[short] = Stored(module, kind)
    return found


def remakes(model: torch.nn.Module) -> set[str]:
    """How loading makes weights of others, experts apart: "split" (several of one) and "join" (one of several).

    transformers 5.23 collects the parts of quantised weights in front of such a step, whose own weights are floats: of a
    split it then raises ValueError, of a join it drops what is not packed (quantizers/base.py, update_weight_conversions).
    """
    found = set()
    for transform in get_model_conversion_mapping(model):
        if not isinstance(transform, WeightConverter) or not all(s.endswith(".weight") for s in transform._original_source_patterns):
            continue
        if len(transform._original_target_patterns) > 1:
            found.add("split")
        elif not _stacks(transform):
            found.add("join")
    return found


def _stacks(transform):
    """Whether it puts modules of a list into one tensor, as experts are."""
    return any(isinstance(operation, MergeModulelist) for operation in transform.operations)


def moves(found: Mapping[str, Stored]) -> dict[str, str]:
    """Prefixes of files by the class's, dotted: the shortest that hold for all that they begin. Numbers are "*" where names that
    differ by them alone go to names that do."""
    alike: dict[str, set[str]] = {}
    own = {name: stored.module for name, stored in found.items() if stored.kind not in "ZM"}
    for name, module in own.items():
        alike.setdefault(starred(name), set()).add(starred(module))
    pairs = dict((starred(name), starred(module)) if len(alike[starred(name)]) == 1 else (name, module)
                 for name, module in own.items())
    result: dict[str, str] = {}
    for name, module in sorted(pairs.items()):
        if moved(name, result) != module:
            result.update([_shortest(name, module, pairs)])
    return result


def moved(name: str, known: Mapping[str, str]) -> str:
    """The class's name, by the longest prefix that is known."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        if (to := known.get(".".join(parts[:end]))) is not None:
            return ".".join(filter(None, [to, *parts[end:]]))
    return name


def ties(model: torch.nn.Module) -> set[tuple[str, str]]:
    """Modules that the class may tie, and to which, whatever its default configuration says."""
    for module in model.modules():
        if isinstance(config := getattr(module, "config", None), PretrainedConfig):
            config.tie_word_embeddings = True
    tied = model.get_expanded_tied_weights_keys(all_submodels=True)  # type: ignore[operator]
    return {(a.removesuffix(".weight"), b.removesuffix(".weight")) for a, b in tied.items()}


def shortened(pairs: Iterable[tuple[str, str]], modules: Mapping[str, str]) -> list[tuple[str, str]]:
    """Ties of modules that the class has, numbers as "*", without what names of both end in."""
    return sorted({_without_tail(starred(a), starred(b)) for a, b in pairs if a in modules})


def _without_tail(a, b):
    """Both names but for the parts that end both, of names with numbers: all below the rest is tied."""
    first, second = a.split("."), b.split(".")
    while "*" in a and len(first) > 1 and len(second) > 1 and first[-1] == second[-1] and "*" in first[:-1]:
        first, second = first[:-1], second[:-1]
        if first[-1] == "*":
            return ".".join([*first, a.split(".")[len(first)]]), ".".join([*second, a.split(".")[len(first)]])
    return ".".join(first), ".".join(second)


def pair(a: str, b: str) -> str:
    """"head/a=b" for head.a and head.b."""
    first, second = a.split("."), b.split(".")
    same = 0
    while same < min(len(first), len(second)) - 1 and first[same] == second[same]:
        same += 1
    return f"{'.'.join(first[:same])}/{'.'.join(first[same:])}={'.'.join(second[same:])}"


def _shortest(name, module, pairs):
    a, b = name.split("."), module.split(".")
    tails = 0
    while tails < min(len(a), len(b)) - 1 and a[-1 - tails] == b[-1 - tails]:
        tails += 1
    for tail in range(tails, -1, -1):
        start, to = a[:len(a) - tail], b[:len(b) - tail]
        begin = ".".join(start)
        if all(other == ".".join([*to, *each.split(".")[len(start):]]) for each, other in pairs.items()
               if each == begin or each.startswith(begin + ".")):
            return begin, ".".join(to)
    return name, module


def starred(name: str) -> str:
    """The name with "*" for its numbers."""
    return ".".join("*" if part.isdigit() else part for part in name.split("."))
