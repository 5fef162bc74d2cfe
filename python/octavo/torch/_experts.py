# SPDX-License-Identifier: Apache-2.0
"""octavo::fused_experts over packed experts, which go by number as packed weights do."""

import torch

from .. import _octavo
from ._library import _library, define
from ._linear import _weights


_NO_GRADIENT = "{}: arguments must not need a gradient (for inference only); got one that does (call under torch.no_grad())"


def _kernel(x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, w13, w2, n,
            apply_router_weight_on_input, batch_invariant, backend):
    return _octavo.fused_experts(x, _weights[w13], _weights[w2], topk_weights, topk_ids, bias13, bias2,
                                 apply_router_weight_on_input, expert_map, out_dtype, batch_invariant, backend)


def _fake(x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, w13, w2, n,
          apply_router_weight_on_input, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], n), dtype=out_dtype or x.dtype)


def refuse_gradient(operation, *values):
    """One sentence where a tensor needs a gradient that does not exist."""
    if torch.is_grad_enabled() and any(isinstance(v, torch.Tensor) and v.requires_grad for v in values):
        raise NotImplementedError(_NO_GRADIENT.format(operation))


# Runs where an argument needs a gradient, in compiled calls too.
def _setup(ctx, inputs, output):
    raise NotImplementedError(_NO_GRADIENT.format("fused_experts"))


def _backward(ctx, grad):
    raise NotImplementedError(_NO_GRADIENT.format("fused_experts"))


fused_experts = define(
    "fused_experts(Tensor x, Tensor topk_weights, Tensor topk_ids, Tensor? bias13, Tensor? bias2, "
    "Tensor? expert_map, ScalarType? out_dtype, int w13, int w2, SymInt n, "
    "bool apply_router_weight_on_input, bool batch_invariant, str? backend) -> Tensor", _kernel, _fake)
torch.library.register_autograd(fused_experts.name(), _backward, setup_context=_setup, lib=_library)
