# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: safetensors files and the schemes in them."""

import os
from typing import Literal, Mapping, Sequence

from . import _octavo
from ._files import warn_of
from ._octavo import Checkpoint, LayerReport, Weight
from ._taking import taking
from ._typing import Scheme, StoredScheme, Tensor


def open_checkpoint(path: str | os.PathLike[str], framework: Literal["np", "pt"] = "np") -> Checkpoint:
    """Opens and validates a safetensors or GGUF file, or a model's folder.

    A block of a GGUF file whose values are codes times scales is two tensors: int8 codes [N, K] under its
    own name, scales [N, K / 32] (or / 16) with "_block_scale" behind it. weight() takes them together.

    Args:
        path: the file, or a folder in Hugging Face's layout.
        framework: of tensors that are read: "np", NumPy (ml_dtypes for bfloat16 and fp8), or "pt", PyTorch.

    Returns:
        octavo.types.Checkpoint, which may be used as safetensors' safe_open is.

    Raises:
        FileNotFoundError, OSError: a file that is not there, or cannot be read.
        RuntimeError: what is malformed, in which tensor, at which offset.
        NotImplementedError: a GGUF file of another version, or big-endian.
        ValueError: another framework.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(4, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("model.safetensors", {"fc": weight}, {"fc.bias": numpy.zeros(4, numpy.float32)})
        >>> with octavo.open_checkpoint("model.safetensors") as file:
        ...     print(len(file), sorted(file), file["fc.bias"].shape, file.weight("fc"))
        3 ['fc.bias', 'fc.weight', 'fc.weight_scale'] (4,) Weight(int8-dynamic, int8 [4, 4])
    """
    return _octavo.open_checkpoint(os.fspath(path), framework)


def write_checkpoint(path: str | os.PathLike[str], layers: Mapping[str, Weight],
                     tensors: Mapping[str, Tensor] | None = None,
                     metadata: Mapping[str, str] | None = None) -> None:
    """Writes quantised layers and other tensors to a safetensors file, in one step.

    A layer that was read (octavo.open_checkpoint), fused or made by quantize_weight is written in the
    form that quantize_file gives its scheme, and read again without a bit changed. Rotated layers of "int8-dynamic" make it ComfyUI's
    `int8_tensorwise`, with `convrot`.

    Args:
        path: of the file.
        layers: by name (without ".weight"); all of one scheme.
        tensors: biases, embeddings, norms, ... by name: NumPy arrays or torch tensors.
        metadata: strings; "quantization_config" is written over.

    Raises:
        ValueError: no layers, layers of several schemes, what the scheme's files cannot say, such as static
            activation scales.
        OSError: a file cannot be read or written.

    Warns:
        UserWarning: of a config.json beside the file that does not declare it.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.eye(4, dtype=numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("one.safetensors", {"fc": weight})
        >>> octavo.open_checkpoint("one.safetensors").weight("fc")
        Weight(int8-dynamic, int8 [4, 4])
    """
    warn_of(_octavo.write_checkpoint(os.fspath(path), dict(layers), dict(tensors or {}), dict(metadata or {})))


@taking()
def quantize_weight(weight: Tensor, scheme: Scheme = "int8-dynamic", *, rotation: int = 0) -> Weight:
    """Quantises a weight as quantize_file does a layer's.

    Args:
        weight: [N, K], as layers store it: float32, bfloat16 or float16.
        scheme: as octavo.quantize_file takes it.
        rotation: blocks of so many neighbours along K are rotated first, of activations, too: 16, 64 or 256; 0: none.

    Returns:
        octavo.types.Weight: codes, scales, and how activations meet them.

    Raises:
        ValueError: an unknown scheme, a tensor that is no matrix of floats, a block that does not divide K.
        NotImplementedError: a rotation for "llm-int8", or for a scheme whose activations stay as they are.

    Example:
        >>> import numpy, octavo
        >>> octavo.checkpoints.quantize_weight(numpy.ones((8, 4), numpy.float32), "fp8-weight-only")
        Weight(fp8-weight-only, float8_e4m3fn [8, 4])
    """
    return _octavo.quantize_weight(weight, scheme, rotation)


@taking(weight="plain", input_zero_point="?indices")
def w8a8_weight(scheme: StoredScheme, weight: Tensor, weight_scale: Tensor, *, input_scale: Tensor | None = None,
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

    Returns:
        octavo.types.Weight.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> codes = numpy.full((2, 4), 64, numpy.int8)
        >>> octavo.checkpoints.w8a8_weight("int8-dynamic", codes, numpy.float32([0.5]))
        Weight(int8-dynamic, int8 [2, 4])
    """
    return _octavo.w8a8_weight(scheme, weight, weight_scale, input_scale=input_scale,
                               input_zero_point=input_zero_point, logical_widths=list(logical_widths),
                               requantize=requantize, activation=activation, azp=azp,
                               input_scale_ub=input_scale_ub, block=block)


@taking()
def fuse(weights: Sequence[Weight]) -> Weight:
    """Weights of layers that read the same activations (query, key, value; gate, up), stacked along N.

    Nothing is lost: scales are repeated where one covered a whole layer, blocks are cut where layers
    meet inside one. Static activation scales become one that covers all.

    Args:
        weights: octavo.types.Weight, of one K, type, scheme and activation rule.

    Returns:
        octavo.types.Weight [sum of N, K].

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> gate, up = (octavo.checkpoints.quantize_weight(numpy.ones((n, 4), numpy.float32)) for n in (2, 3))
        >>> octavo.checkpoints.fuse([gate, up])
        Weight(int8-dynamic, int8 [5, 4])
    """
    return _octavo.fuse(list(weights))


@taking()
def compare_weight(layer: str, weight: Tensor, quantized: Weight) -> LayerReport:
    """What quantising did to a weight [N, K].

    Args:
        layer: the name that the result gets.
        weight: [N, K], a float type.
        quantized: octavo.types.Weight of the same shape.

    Returns:
        octavo.types.LayerReport.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> weight = numpy.float32([[127, 0.5]])
        >>> octavo.checkpoints.compare_weight("fc", weight, octavo.checkpoints.quantize_weight(weight)).max_error
        0.5
    """
    return _octavo.compare_weight(layer, weight, quantized)
