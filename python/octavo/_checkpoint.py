# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: safetensors files and the schemes in them."""

import os
from typing import Sequence

from . import _octavo
from ._octavo import Checkpoint, LayerReport, QuantizeReport, Weight
from ._typing import Progress, Tensor


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Opens and validates a safetensors file by the rules of the reference reader.

    Returns: octavo.Checkpoint. Raises: FileNotFoundError, OSError, RuntimeError (what is malformed, in
    which tensor, at which offset).
    """
    return _octavo.open_checkpoint(os.fspath(path))


def quantize_file(input: str | os.PathLike[str], output: str | os.PathLike[str],
                  scheme: str = "int8-dynamic", ignore: Sequence[str] = (),
                  progress: Progress | None = None) -> QuantizeReport:
    """Quantises every linear layer's weight of a safetensors file and copies the rest.

    Args:
        scheme: "int8-dynamic", "fp8-dynamic", "fp8-block" or "llm-int8".
        ignore: layers to leave alone: names, or regular expressions as "re:...".
        progress: called as progress(done_bytes, total_bytes) after each tensor. Ctrl-C leaves the
            output untouched.

    Returns: octavo.QuantizeReport.
    """
    return _octavo.quantize_file(os.fspath(input), os.fspath(output), scheme, list(ignore), progress)


def quantize_weight(weight: Tensor, scheme: str = "int8-dynamic") -> Weight:
    """Quantises a weight [N, K], as layers store it. Returns: octavo.Weight."""
    return _octavo.quantize_weight(weight, scheme)


def compare_weight(layer: str, weight: Tensor, quantized: Weight) -> LayerReport:
    """What quantising did to a weight [N, K]. Returns: octavo.LayerReport."""
    return _octavo.compare_weight(layer, weight, quantized)
