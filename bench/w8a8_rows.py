# SPDX-License-Identifier: Apache-2.0
"""Rows of torch_bench.py: what the W8A8 layers cost over the bare product of the same packed weight."""

import math
from typing import Any, Callable, NamedTuple

import torch

import octavo
import octavo.torch
from octavo.torch import nn
from torch_kit import Row, copies_of, gaussian, named

FP8, INT8 = "float8_e4m3fn", "int8"


class Kind(NamedTuple):
    """A layer of checkpoint tensors, and the quantiser of its activations."""

    name: str
    layer: Callable[..., torch.nn.Module]
    dtype: str
    weight: str  # granularity of the stored weight
    options: dict[str, Any]
    activation: dict[str, Any]


KINDS = (
    Kind("fp8 per tensor, static", nn.Fp8Linear.from_quantized, FP8, "tensor",
         {"input_scale": torch.tensor(0.01)}, {"granularity": "tensor", "scale": torch.tensor([0.01])}),
    Kind("fp8 per tensor", nn.Fp8Linear.from_quantized, FP8, "tensor", {"activation": "tensor"},
         {"granularity": "tensor"}),
    Kind("fp8 per token and channel", nn.Fp8Linear.from_quantized, FP8, "token", {}, {}),
    Kind("fp8 blocks", nn.BlockFp8Linear.from_quantized, FP8, "block128x128", {},
         {"granularity": "group128"}),
    Kind("int8", nn.Int8Linear.from_quantized, INT8, "token", {}, {}),
    Kind("int8 with zero points", nn.Int8Linear.from_quantized, INT8, "token", {"azp": True}, {"azp": True}),
)


@named(lambda kind, m, quantized, n, k:
       f"layer, {kind.name}, {'codes' if quantized else 'bfloat16'} in, {m}x{n}x{k}")
def row(kind: Kind, m: int, quantized: bool, n: int = 4096, k: int = 4096) -> Row:
    x = gaussian(m, k).bfloat16()
    bias = gaussian(n, seed=3).bfloat16()
    q = octavo.quantize(x, kind.dtype, **kind.activation)
    w = octavo.quantize(gaussian(n, k, seed=2) * k**-0.5, kind.dtype, kind.weight)
    layers = [kind.layer(w.data, w.scale, bias, **kind.options) for _ in range(copies_of(n * k))]
    packed = [layer._packed for layer in layers]
    given = (q.data, q.scale, q.azp) if quantized else (x,)
    count = len(layers)
    bar = 1 / 1.05 if quantized else 1 / 1.12 if m >= 16 else math.nan
    return Row(lambda i: layers[i % count](*given),
               {"bare product": lambda i: octavo.scaled_mm(q, packed[i % count], bias=bias,
                                                           out_dtype=torch.bfloat16)},
               {"bare product": round(bar, 3)}, copies=count)


ROWS = [row(kind, m, quantized)
        for quantized in (True, False) for kind in KINDS for m in (1, 7, 16, 64, 513)]
