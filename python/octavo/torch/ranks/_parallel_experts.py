# SPDX-License-Identifier: Apache-2.0
"""Experts that are shared out over ranks of torch.distributed: specification section 11."""

from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable
from typing_extensions import Self

from ... import _octavo
from ..._octavo import UNDEFINED, ExpertWeights
from ..._operations import pack_experts
from ..layers._layer import autocast, check_float, check_host
from ..moe import FusedMoE
from ..operators._library import as_gradient
from ._ranks import ProcessGroupRanks


class _Experts(torch.autograd.Function):
    """y of a rank's tokens. A gradient is wanted on all ranks, or on none."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, topk_weights: torch.Tensor, topk_ids: torch.Tensor, native: Any, on_input: bool,
                batch_invariant: bool) -> torch.Tensor:
        ctx.native, ctx.on_input = native, on_input
        ctx.save_for_backward(x, topk_weights, topk_ids)
        return native.forward(x, topk_weights, topk_ids, on_input, batch_invariant)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, topk_weights, topk_ids = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[:2])
        found = iter(ctx.native.vjp(as_gradient(grad), wanted, x, topk_weights, topk_ids, ctx.on_input))
        of_x, of_weights = (next(found) if want else None for want in wanted)
        return of_x, None if of_weights is None else of_weights.to(topk_weights.dtype), None, None, None, None


class ExpertParallelMoE(FusedMoE):
    """FusedMoE with some of the experts on each rank. Every rank calls with tokens of its own, any number of them or none,
    and ids of all experts; tokens go to the ranks of their experts as codes with their scales, and come back in the order of
    the slots: y has the bits of FusedMoE with all experts, on any number of ranks, and so have the gradients of x and of
    topk_weights. On tensors of the CPU.

    Args:
        w13, w2: the rank's experts, [begin, end) of `experts` with begin = experts * rank // ranks; of rules whose
            activation scales rows share none.
        bias13, bias2: of the rank's experts.
        group: of torch.distributed; None: the default one.

    Raises:
        ValueError: ranks that bring others are told which.
        NotImplementedError: the contract has it, this build does not.
    """

    on_ranks = True

    def __init__(self, w13: ExpertWeights, w2: ExpertWeights, experts: int, bias13: torch.Tensor | None = None,
                 bias2: torch.Tensor | None = None, group: dist.ProcessGroup | None = None) -> None:
        for name, weights in (("w13", w13), ("w2", w2)):
            check_host(f"ExpertParallelMoE: {name}.device", weights.device)
        super().__init__(w13, w2, bias13, bias2)
        ranks = ProcessGroupRanks(group)
        self.group = ranks.group
        self._native = _octavo.ExpertParallelMoE(w13, w2, experts, ranks, bias13, bias2)

    @classmethod
    def from_layer(cls, layer: FusedMoE, group: dist.ProcessGroup | None = None) -> Self:
        """That of a layer which all ranks have."""
        check_host("ExpertParallelMoE.from_layer: layer's device", layer.w13.device)
        ranks = ProcessGroupRanks(group)
        count = layer.w13.experts
        own = slice(count * ranks.rank // ranks.size, count * (ranks.rank + 1) // ranks.size)
        w13, w2 = (_some(weights, own) for weights in (layer.w13, layer.w2))
        bias13, bias2 = (None if bias is None else bias[own].clone() for bias in (layer.bias13, layer.bias2))
        made = cls(w13, w2, count, bias13, bias2, group)
        made.batch_invariant = layer.batch_invariant
        return made.train(layer.training)

    @property
    def experts(self) -> int:
        """Of all ranks."""
        return self._native.experts

    @property
    def local(self) -> tuple[int, int]:
        """(begin, end) of this rank's experts."""
        return self._native.local

    @torch.compiler.disable
    def forward(self, x: torch.Tensor, topk_weights: torch.Tensor, topk_ids: torch.Tensor, expert_map: torch.Tensor | None = None,
                apply_router_weight_on_input: bool = False) -> torch.Tensor:
        """y [M, H] of the rank's tokens x [M, H]; topk_weights, topk_ids [M, top-k] of all experts."""
        check_float("ExpertParallelMoE", "x.dtype", x.dtype)
        if expert_map is not None:
            raise NotImplementedError("ExpertParallelMoE: expert_map must be None (experts lie on ranks in their order); got one")
        if torch.is_grad_enabled() and any(bias is not None and bias.requires_grad for bias in (self.bias13, self.bias2)):
            raise NotImplementedError("ExpertParallelMoE: bias13 and bias2 must not need gradients (the layer multiplies with "
                                      "copies of them); got one that does")
        return _Experts.apply(autocast(x), topk_weights, topk_ids, self._native, apply_router_weight_on_input,
                              self.batch_invariant)

    def _load(self, name, old, codes, scale, input_scale, rotation, prefix, errors):
        errors.append(f"{prefix}{name} must not be in a state for ExpertParallelMoE, whose codes stay (make the layer of all experts)")

    def extra_repr(self) -> str:
        begin, end = self.local
        return f"{super().extra_repr()}, of {self.experts}, [{begin}, {end}) here"


def _some(weights, own):
    """Some of the experts, packed by themselves."""
    codes, scale, granularity = weights.unpack(torch.empty(0, device="cpu"))
    return pack_experts(codes[own].contiguous(), UNDEFINED if scale is None else scale[own].contiguous(),
                        granularity=granularity, **(weights.activation or {}))
