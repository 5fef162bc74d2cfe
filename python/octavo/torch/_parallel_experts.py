# SPDX-License-Identifier: Apache-2.0
"""Experts that are shared out over ranks of torch.distributed: specification section 11."""

from typing import Any

import torch
import torch.distributed as dist
from typing_extensions import Self

from .. import _octavo
from .._octavo import UNDEFINED, ExpertWeights
from .._operations import pack_experts
from ._layer import autocast, check_float
from ._ranks import ProcessGroupRanks
from .moe import FusedMoE


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, *arguments: Any) -> torch.Tensor:
        native, *rest = arguments
        return native.forward(x, *rest)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        raise NotImplementedError("ExpertParallelMoE: gradients must not be asked for (experts on ranks are for inference)")


class ExpertParallelMoE(FusedMoE):
    """FusedMoE with some of the experts on each rank. Every rank calls with tokens of its own, any number of them or none,
    and ids of all experts; tokens go to the ranks of their experts as codes with their scales, and come back in the order of
    the slots: y has the bits of FusedMoE with all experts, on any number of ranks. For inference, on tensors of the CPU.

    Args:
        w13, w2: the rank's experts, [begin, end) of `experts` with begin = experts * rank // ranks; of rules whose
            activation scales rows share none.
        bias13, bias2: of the rank's experts.
        group: of torch.distributed; None: the default one.

    Raises: ValueError (ranks that bring others are told which), NotImplementedError.
    """

    on_ranks = True

    def __init__(self, w13: ExpertWeights, w2: ExpertWeights, experts: int, bias13: torch.Tensor | None = None,
                 bias2: torch.Tensor | None = None, group: dist.ProcessGroup | None = None) -> None:
        super().__init__(w13, w2, bias13, bias2)
        ranks = ProcessGroupRanks(group)
        self.group = ranks.group
        self._native = _octavo.ExpertParallelMoE(w13, w2, experts, ranks, bias13, bias2)

    @classmethod
    def from_layer(cls, layer: FusedMoE, group: dist.ProcessGroup | None = None) -> Self:
        """That of a layer which all ranks have."""
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
        return _Experts.apply(autocast(x), self._native, topk_weights.detach(), topk_ids, apply_router_weight_on_input,
                              self.batch_invariant)

    def _load(self, name, old, codes, scale, input_scale, prefix, errors):
        errors.append(f"{prefix}{name} must not be in a state for ExpertParallelMoE, whose codes stay (make the layer of all experts)")

    def extra_repr(self) -> str:
        begin, end = self.local
        return f"{super().extra_repr()}, of {self.experts}, [{begin}, {end}) here"


def _some(weights, own):
    """Some of the experts, packed by themselves."""
    codes, scale, granularity = weights.unpack(torch.empty(0))
    return pack_experts(codes[own].contiguous(), UNDEFINED if scale is None else scale[own].contiguous(),
                        granularity=granularity, **(weights.activation or {}))
