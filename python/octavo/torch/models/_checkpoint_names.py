# SPDX-License-Identifier: Apache-2.0
"""Names of a checkpoint's tensors and what a model calls them.

transformers renames some tensors when it loads a model (block_sparse_moe.experts.3.w1 of Mixtral's files is a part of
mlp.experts.gate_up_proj), by a table of its own. Other models have the names of their files.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from transformers.core_model_loading import WeightTransform


class Part(NamedTuple):
    """A layer of a checkpoint that becomes a part of a model's parameter."""

    layer: str  # in the checkpoint, without ".weight"
    source: str  # which of the parameter's parts it belongs to, in their order: "0000", "0001"


class _Place(NamedTuple):
    parameter: str
    source: str


_PARTS = {"gate_proj": _Place("gate_up_proj", "0000"), "up_proj": _Place("gate_up_proj", "0001"),
          "down_proj": _Place("down_proj", "")}
_EXPERT = re.compile(rf"(.*)\.\d+\.({'|'.join(_PARTS)})")


class CheckpointNames:
    """What a model calls the tensors of its checkpoint."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._transforms = transforms(model)
        self._prefix = getattr(model, "base_model_prefix", None)
        self._own = model.state_dict()

    def __contains__(self, name: str) -> bool:
        """Whether the model's state has that name."""
        return name in self._own

    def of(self, key: str) -> tuple[str, str | None]:
        """The model's name of a tensor, and the pattern of the part that it is; None where it is the whole."""
        if self._prefix is None:
            return key, None
        from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

        renamings = [t for t in self._transforms if isinstance(t, WeightRenaming)]
        converters = [t for t in self._transforms if isinstance(t, WeightConverter)]
        name, pattern = rename_source_key(key, renamings, converters, self._prefix, self._own)
        if name not in self._own and key in self._own:
            return key, None
        return name, pattern

    def parts(self, layers: Iterable[str]) -> dict[str, list[Part]]:
        """Layers of a checkpoint by the model's parameter; parts in the order of rows.

        Layers "x.3.up_proj" of a model that keeps "x.gate_up_proj" and merges nothing are parts of it.
        """
        found: dict[str, list[Part]] = defaultdict(list)
        for layer in layers:
            name, pattern = self.of(layer + ".weight")
            source = "" if pattern is None else f"{self._order(pattern):04}"
            stacked = _EXPERT.fullmatch(name.removesuffix(".weight"))
            if name not in self._own and stacked:
                stem, part = stacked.groups()
                both = self.of(f"{stem}.{_PARTS[part].parameter}")[0]
                if both in self._own:
                    name, source = both, _PARTS[part].source
            found[name].append(Part(layer, source))
        return {name: sorted(parts, key=lambda part: (part.source, _natural(part.layer))) for name, parts in found.items()}

    def _order(self, pattern):
        for transform in self._transforms:
            if pattern in transform.source_patterns:
                return transform.source_patterns.index(pattern)
        return 0


def transforms(model: torch.nn.Module, legacy: bool = True) -> "list[WeightTransform]":
    """transformers' table of what it renames and merges when it loads the model; of other models none."""
    if not hasattr(model, "base_model_prefix"):
        return []
    from transformers.conversion_mapping import get_model_conversion_mapping

    return get_model_conversion_mapping(model, add_legacy=legacy)  # type: ignore[arg-type]


def table_of(model: torch.nn.Module) -> "list[WeightTransform]":
    """What transformers takes back when it saves the model: what it did when it loaded it, and merges of experts that
    it did not see, since the files' experts were packed; of a model that was not loaded, the model's table."""
    if not hasattr(model, "base_model_prefix"):
        return []
    from transformers.core_model_loading import PrefixChange, WeightConverter

    table = [t for t in transforms(model, legacy=False) if not isinstance(t, PrefixChange)]
    own = getattr(model, "_weight_conversions", None)
    if own is None:
        return table
    known = [t.target_patterns for t in own]
    return [*own, *(t for t in table if isinstance(t, WeightConverter) and t.target_patterns not in known)]


def names_in_files(model: torch.nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """What the files call a model's layers, where transformers renames them.

    Expert 3 of a stack, layers "x.3.gate_proj", "x.3.up_proj" and "x.3.down_proj", is what the files keep apart
    (block_sparse_moe.experts.3.w1 of Mixtral's), or that name under the stack's where they keep the stack.
    """
    table = table_of(model)
    if not table:
        return {name: name for name in layers}
    from transformers.core_model_loading import WeightConverter, WeightRenaming, apply_renamings

    backwards = [t.reverse_transform() for t in table[::-1] if not isinstance(t, WeightConverter)]
    renamings = [t for t in backwards if isinstance(t, WeightRenaming)]
    own = getattr(model, "_weight_conversions", None)  # of a model that was loaded: what its files needed
    merges = [t for t in (table if own is None else own) if isinstance(t, WeightConverter)]
    return {name: apply_renamings(f"{_apart(name, merges)}.weight", renamings).removesuffix(".weight") for name in layers}


def _apart(name, merges):
    """The name of a stack's expert before experts were merged."""
    stacked = _EXPERT.fullmatch(name)
    if stacked is None:
        return name
    stem, part = stacked.groups()
    parameter, source = _PARTS[part]
    stack = f"{stem}.{parameter}"
    for merge in merges:
        target = merge.target_patterns[0]
        pattern = merge.source_patterns[min(int(source or 0), len(merge.source_patterns) - 1)]
        if stack.endswith(target) and pattern.count("*") == 1:
            expert = name[len(stem) + 1:].partition(".")[0]
            return stack.removesuffix(target) + pattern.removesuffix(".weight").replace("*", expert)
    return name


def _natural(name):
    """Experts in the order of their numbers."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]
