# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: safetensors files and the schemes in them."""

import os
import warnings
from typing import Mapping, Sequence

from . import _octavo
from ._octavo import Checkpoint, LayerReport, QuantizeReport, Weight
from ._typing import Progress, Tensor


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens and validates a safetensors file by the rules of the reference reader.

    Returns: octavo.Checkpoint. Raises: FileNotFoundError, OSError, RuntimeError (what is malformed, in
    which tensor, at which offset).
    """
    return _octavo.open_checkpoint(os.fspath(path))


def _warn(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        warnings.warn(sentence, stacklevel=3)


def quantize_file(input: str | os.PathLike[str], output: str | os.PathLike[str],
                  scheme: str = "int8-dynamic", ignore: Sequence[str] = (),
                  progress: Progress | None = None, *,
                  outlier_columns: Mapping[str, Sequence[int]] | None = None,
                  threshold: float | None = None, whole_columns: bool = False) -> QuantizeReport:
    """Quantises every linear layer's weight of a safetensors file and copies the rest.

    Args:
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block" or "llm-int8".
        ignore: layers to leave alone: names, or regular expressions as "re:...".
        progress: called as progress(done_bytes, total_bytes) after each tensor. Ctrl-C leaves the
            output untouched.
        outlier_columns: "llm-int8" only, by layer (without ".weight"): columns of its activations
            that stay in float whatever they hold, ascending in [0, K).
        threshold: "llm-int8" only: columns with an element of that magnitude stay in float, too; 0:
            only those listed. None: 6, bitsandbytes' default.
        whole_columns: "llm-int8" only: all of an outlier column stays out of row statistics.

    Returns: octavo.QuantizeReport. Raises: ValueError (an unknown scheme, outlier columns of a layer
        that is not quantised), FileNotFoundError, OSError, RuntimeError (a weight that is not finite).
        Warns (UserWarning) of a config.json beside the output that does not declare it.
    """
    lists = {layer: [int(column) for column in columns]
             for layer, columns in (outlier_columns or {}).items()}
    report = _octavo.quantize_file(os.fspath(input), os.fspath(output), scheme, list(ignore), progress,
                                   outlier_columns=lists, threshold=threshold,
                                   whole_columns=whole_columns)
    _warn(report.warnings)
    return report


def write_checkpoint(path: str | os.PathLike[str], layers: Mapping[str, Weight],
                     tensors: Mapping[str, Tensor] | None = None,
                     metadata: Mapping[str, str] | None = None) -> None:
    """Writes quantised layers and other tensors to a safetensors file, in one step.

    A layer that was read (octavo.open_checkpoint), fused or made by quantize_weight is written in the
    form that quantize_file gives its scheme, and read again without a bit changed.

    Args:
        layers: by name (without ".weight"); all of one scheme.
        tensors: biases, embeddings, norms, ... by name: NumPy arrays or torch tensors.
        metadata: strings; "quantization_config" is written over.

    Raises: ValueError (no layers, layers of several schemes, what the scheme's files cannot say, such
        as static activation scales), OSError. Warns (UserWarning) of a config.json beside the file that
        does not declare it.
    """
    _warn(_octavo.write_checkpoint(os.fspath(path), dict(layers), dict(tensors or {}), dict(metadata or {})))


def quantize_weight(weight: Tensor, scheme: str = "int8-dynamic") -> Weight:
    """Quantises a weight [N, K], as layers store it. Returns: octavo.Weight."""
    return _octavo.quantize_weight(weight, scheme)


def w8a8_weight(scheme: str, weight: Tensor, weight_scale: Tensor, *, input_scale: Tensor | None = None,
                input_zero_point: Tensor | None = None, logical_widths: Sequence[int] = (),
                requantize: bool = False, activation: str = "token", azp: bool = False,
                input_scale_ub: float = float("inf"), block: tuple[int, int] = (128, 128)) -> Weight:
    """The canonical weight of a checkpoint's tensors that no file declares.

    Args:
        scheme: "fp8-dynamic", "int8-dynamic" or "fp8-block".
        weight: codes [N, K].
        weight_scale: decode multipliers: one element, one for each shard, [N] or [N, 1]; blocks
            [ceil(N/r), ceil(K/c)]. torch.finfo(torch.float32).min marks one that was not loaded.
        input_scale, input_zero_point: static activations; one element, or one for each shard.
        logical_widths: rows of the layers that are fused in this weight, 0 included. Each row keeps
            its shard's scale.
        requantize: one scale for the whole fp8 weight instead, the largest.
        activation: dynamic activations' scales, "token" or "tensor".
        azp: dynamic int8 activations with zero points.
        input_scale_ub: upper bound of |x| in dynamic scales.
        block: rows and columns of the weight under one scale, for "fp8-block".

    Returns: octavo.Weight. Raises: ValueError.
    """
    return _octavo.w8a8_weight(scheme, weight, weight_scale, input_scale=input_scale,
                               input_zero_point=input_zero_point, logical_widths=list(logical_widths),
                               requantize=requantize, activation=activation, azp=azp,
                               input_scale_ub=input_scale_ub, block=block)


def fuse(weights: Sequence[Weight]) -> Weight:
    """Weights of layers that read the same activations (query, key, value; gate, up), stacked along N.

    Nothing is lost: scales are repeated where one covered a whole layer, blocks are cut where layers
    meet inside one. Static activation scales become one that covers all.
    """
    return _octavo.fuse(list(weights))


def compare_weight(layer: str, weight: Tensor, quantized: Weight) -> LayerReport:
    """What quantising did to a weight [N, K]. Returns: octavo.LayerReport."""
    return _octavo.compare_weight(layer, weight, quantized)
