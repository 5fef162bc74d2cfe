# SPDX-License-Identifier: Apache-2.0
"""Rows of torch_bench.py: FusedMoE beside a loop of bfloat16 linear layers over the experts."""

from typing import Callable, NamedTuple

import torch

import octavo.torch
from torch_kit import Row, gaussian, named, relative_error

LOOP = "loop of F.linear bf16"


class Sizes(NamedTuple):
    """Of a layer, as bench/shapes/experts.txt has them."""

    experts: int = 64
    topk: int = 8
    inner: int = 768
    hidden: int = 2048

    def of(self, tokens: int) -> str:
        """What names of rows say of a layer and the tokens that it takes."""
        return f"{self.experts} experts, top {self.topk}, {tokens}x{self.inner}x{self.hidden}"


class Routes(NamedTuple):
    """Where tokens go: calls take turns on experts where one call touches few of them."""

    weights: torch.Tensor  # float32 [M, T]
    turns: list[torch.Tensor]  # int32 [M, T] each


def routes(m: int, sizes: Sizes) -> Routes:
    """Popular experts, and tokens with a taste of their own."""
    e = sizes.experts
    logits = gaussian(1, e, seed=4) + gaussian(m, e, seed=5)
    weights, first = octavo.torch.nn.fused_topk(logits, sizes.topk, True)
    touched = first.unique()
    place = torch.empty(e, dtype=torch.int32)
    place[touched.long()] = torch.arange(len(touched), dtype=torch.int32)
    turns = e // len(touched)
    return Routes(weights, [place[first.long()] + len(touched) * turn for turn in range(turns)])


def float_experts(sizes: Sizes) -> tuple[torch.Tensor, torch.Tensor]:
    """w13 [E, 2 I, H] and w2 [E, H, I] in bfloat16."""
    e, _, inner, hidden = sizes
    w13 = [gaussian(2 * inner, hidden, seed=i) * hidden ** -0.5 for i in range(e)]
    w2 = [gaussian(hidden, inner, seed=e + i) * inner ** -0.5 for i in range(e)]
    return torch.stack(w13).bfloat16(), torch.stack(w2).bfloat16()


Expert = Callable[[int], torch.Tensor]


def loop(x: torch.Tensor, w13: Expert, w2: Expert, weights: torch.Tensor,
         ids: torch.Tensor) -> torch.Tensor:
    """The layer in x's type, expert by expert; their results are summed in float32 or wider."""
    out = torch.zeros(x.shape, dtype=torch.promote_types(x.dtype, torch.float32))
    for expert in ids.unique().tolist():
        token, slot = (ids == expert).nonzero(as_tuple=True)
        gate, up = torch.nn.functional.linear(x[token], w13(expert)).chunk(2, 1)
        act = torch.nn.functional.silu(gate) * up
        y = torch.nn.functional.linear(act, w2(expert))
        out.index_add_(0, token, y * weights[token, slot, None])
    return out.to(x.dtype)


@named(lambda scheme, m, sizes, **_: f"FusedMoE {scheme}, {sizes.of(m)}")
def experts(scheme: str, m: int, bar: float, sizes: Sizes = Sizes()) -> Row:
    w13, w2 = float_experts(sizes)
    x = gaussian(m, sizes.hidden, seed=3).bfloat16()
    own = octavo.torch.nn.FusedMoE.from_float(w13, w2, scheme=scheme)
    weights, turns = routes(m, sizes)

    def peer(i):
        return loop(x, lambda e: w13[e], lambda e: w2[e], weights, turns[i % len(turns)])

    exact = loop(x.double(), lambda e: w13[e].double(), lambda e: w2[e].double(), weights, turns[0])
    return Row(lambda i: own(x, weights, turns[i % len(turns)]), {LOOP: peer}, {LOOP: bar},
               relative_error(exact), len(turns))


ROWS = [experts(scheme, m, 3.0)
        for scheme in ("fp8-dynamic", "int8-dynamic") for m in (1, 16, 256)]
