# SPDX-License-Identifier: Apache-2.0
"""Rows of torch_bench.py: layers in int8 and bfloat16 beside zentorch, AMD's kernels for PyTorch.

zentorch is a peer where it can be imported (2.14.0.1 in the results, which needs PyTorch 2.14).
int8 weights are given as they lie, [N, K]: it keeps a packed copy of each, found by the weight's
address, so rows of one kind share their weights; its packing ahead of int8 weights gave wrong
results there. bfloat16 ones are packed ahead: others it reorders where they lie.
Its int8 layers quantise bfloat16 activations by token, as ours do.
"""

import functools

import torch

import octavo.torch
from experts_rows import Sizes, float_experts, loop, routes
from torch_kit import Row, copies_of, gaussian, named, relative_error

ZEN = "zentorch"

try:
    import zentorch  # noqa: F401  (defines operators)

    zen = torch.ops.zentorch
    NOT_RUN = {}
except (ImportError, OSError, RuntimeError) as error:
    zen = None
    NOT_RUN = {ZEN: str(error).splitlines()[0]}


@functools.cache
def int8_weights(n: int, k: int) -> tuple[octavo.Quantized, list[torch.Tensor]]:
    """A weight, and copies of its codes."""
    w = octavo.quantize(gaussian(n, k, seed=2) * k ** -0.5, "int8")
    return w, [w.data.clone() for _ in range(copies_of(n * k))]


@named(lambda m, n, k: f"Int8Linear of int8 codes, bfloat16 in and out, {m}x{n}x{k}")
def int8_layer(m: int, n: int = 4096, k: int = 4096) -> Row:
    x = gaussian(m, k).bfloat16()
    w, codes = int8_weights(n, k)
    scale = w.scale.flatten()
    own = [octavo.torch.nn.Int8Linear.from_quantized(c, w.scale) for c in codes]
    count = len(codes)
    peers = {ZEN: lambda i: zen.zentorch_dynamic_qlinear(x, codes[i % count], scale)} if zen else {}
    exact = x.double() @ octavo.dequantize(w).double().t()
    return Row(lambda i: own[i % count](x), peers, {}, relative_error(exact), count, NOT_RUN)


@named(lambda m, n, k: f"bfloat16 product, packed weight, {m}x{n}x{k}")
def bfloat16_product(m: int, n: int = 4096, k: int = 4096) -> Row:
    x = gaussian(m, k).bfloat16()
    w = (gaussian(n, k, seed=2) * k ** -0.5).bfloat16()
    count = copies_of(2 * n * k)
    own = [octavo.pack(w.t()) for _ in range(count)]
    peers = {}
    if zen:
        theirs = [zen.zentorch_weight_prepack_for_linear(w) for _ in range(count)]
        peers[ZEN] = lambda i: zen.zentorch_linear_unary(x, theirs[i % count],
                                                         is_weight_prepacked=True)
    return Row(lambda i: octavo.scaled_mm(x, own[i % count], out_dtype=torch.bfloat16), peers, {},
               relative_error(x.double() @ w.double().t()), count, NOT_RUN)


@functools.cache
def int8_experts(sizes: Sizes) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    own = octavo.torch.nn.FusedMoE.from_float(*float_experts(sizes), scheme="int8-dynamic")
    return own, own.state_dict()


@named(lambda m, sizes: f"FusedMoE, int8 channels, int8 activations, {sizes.of(m)}")
def experts(m: int, sizes: Sizes = Sizes()) -> Row:
    own, state = int8_experts(sizes)
    w13, s13, w2, s2 = (state[name] for name in ("w13", "w13_scale", "w2", "w2_scale"))
    x = gaussian(m, sizes.hidden, seed=3).bfloat16()
    weights, turns = routes(m, sizes)

    def peer(i):
        out = torch.empty_like(x)
        zen.zentorch_fused_moe(out, x, w13, w2, None, None, weights, turns[i % len(turns)], False,
                               "silu", s13, s2)
        return out

    exact = loop(x.double(), lambda e: w13[e].double() * s13[e].double()[:, None],
                 lambda e: w2[e].double() * s2[e].double()[:, None], weights, turns[0])
    return Row(lambda i: own(x, weights, turns[i % len(turns)]), {ZEN: peer} if zen else {}, {},
               relative_error(exact), len(turns), NOT_RUN)


ROWS = [kind(m) for kind in (int8_layer, bfloat16_product, experts) for m in (1, 16, 256)]
