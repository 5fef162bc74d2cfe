# SPDX-License-Identifier: Apache-2.0
"""quantize_: the linear layers of any model, in place."""

import re
import sys
from typing import NamedTuple, Sequence

import torch

from .. import _octavo
from . import nn
from ._undeclared import refuse_undeclared

_LAYERS = {
    "int8-dynamic": nn.Int8Linear,
    "fp8-dynamic": nn.Fp8Linear,
    "fp8-block": nn.BlockFp8Linear,
    "llm-int8": nn.Linear8bitLt,
}


class LayerError(NamedTuple):
    """What quantising did to one layer's weight."""

    name: str
    shape: tuple[int, ...]  # (out_features, in_features)
    sqnr_db: float  # 10 log10(sum w^2 / sum (w - w')^2)
    max_error: float  # largest |w - w'|
    saturated: int  # codes at the type's largest magnitude


class Report(list[LayerError]):
    """The layers that quantize_ swapped, each a LayerError; prints as a table, worst first."""

    def __str__(self) -> str:
        rows = [f"{'layer':<48} {'shape':>14} {'SQNR, dB':>9} {'max error':>10} {'saturated':>9}"]
        for row in sorted(self, key=lambda row: row.sqnr_db):
            shape = f"{row.shape[0]}x{row.shape[1]}"
            rows.append(f"{row.name:<48} {shape:>14} {row.sqnr_db:>9.2f} {row.max_error:>10.3g} "
                        f"{row.saturated:>9}")
        return "\n".join(rows)


def quantize_(model: torch.nn.Module, scheme: str = "int8-dynamic", *,
              ignore: Sequence[str] = ("lm_head",), freeze: bool = True,
              progress: bool | None = None) -> Report:
    """Swaps the torch.nn.Linear layers of a model for layers in 8 bits, in place.

    Args:
        model: any torch.nn.Module on the CPU, float32, bfloat16 or float16.
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block" or "llm-int8" (also "W8A8", "FP8_DYNAMIC", ...).
        ignore: layers to leave alone: names, their last parts ("lm_head"), or regular expressions
            as "re:...", matched from the start of the name.
        freeze: drop the float weights. False keeps them, for training on.
        progress: True or False; None shows a bar on a terminal.

    Returns: the per-layer error table, a list of LayerError that prints as one. A model of transformers with
        frozen layers is refused by its save_pretrained (NotImplementedError), since its config.json cannot
        declare them.
    Raises: ValueError (an unknown scheme, a model that is a linear layer itself), RuntimeError (a weight
        that is not finite); layers before it are swapped by then.
    """
    name = _octavo.canonical_scheme(scheme)
    make = _LAYERS[name]
    if isinstance(model, torch.nn.Linear):
        raise ValueError("quantize_: model must contain linear layers; got one itself (use "
                         f"octavo.torch.nn.{make.__name__}.from_float)")
    refuse_undeclared()
    report = Report()
    made = {}  # by the float layer: one that stands in two places stays one
    layers = [(path, layer) for path, layer in model.named_modules(remove_duplicate=False)
              if type(layer) is torch.nn.Linear and not _ignored(path, ignore)]
    for path, layer in _with_bar(layers, name, progress):
        parent, _, child = path.rpartition(".")
        if layer in made:
            setattr(model.get_submodule(parent), child, made[layer])
            continue
        quantized = _octavo.quantize_weight(layer.weight.detach(), name)
        error = _octavo.compare_weight(path, layer.weight.detach(), quantized)
        report.append(LayerError(path, tuple(layer.weight.shape), error.sqnr_db, error.max_error,
                                 error.saturated))
        made[layer] = make.from_float(layer, freeze, quantized)
        setattr(model.get_submodule(parent), child, made[layer])
    return report


def _ignored(path, patterns):
    for pattern in patterns:
        if pattern.startswith("re:"):
            if re.match(pattern[3:], path):
                return True
        elif path == pattern or path.endswith("." + pattern):
            return True
    return False


def _with_bar(layers, scheme, progress):
    if progress is None:
        progress = sys.stderr.isatty()
    if not progress:
        return layers
    try:
        from tqdm.auto import tqdm
    except ImportError:  # only a bar: the layers are the same without it
        return layers
    return tqdm(layers, desc=f"octavo {scheme}", unit="layer")
