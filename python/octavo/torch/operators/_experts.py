# SPDX-License-Identifier: Apache-2.0
"""octavo::fused_experts over packed experts, which go by handles as packed weights do, and octavo::silu_and_mul."""

from ... import _octavo
from ._library import define, differentiate, direct, row_major
from ._linear import held, weight_of


def _kernel(x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, w13, w2,
            apply_router_weight_on_input, batch_invariant, backend):
    return _octavo.fused_experts(x, weight_of(w13), weight_of(w2), topk_weights, topk_ids, bias13, bias2,
                                 apply_router_weight_on_input, expert_map, out_dtype, batch_invariant, backend)


def _fake(x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, w13, w2,
          apply_router_weight_on_input, batch_invariant, backend):
    return x.new_empty((*x.shape[:-1], w2.shape[0]), dtype=out_dtype or x.dtype)


def _vjp(grad, wanted, options, x, topk_weights, topk_ids, bias13, bias2, expert_map, out_dtype, w13, w2,
         apply_router_weight_on_input, batch_invariant, backend):
    return _octavo.fused_experts_vjp(grad, wanted, weight_of(w13), weight_of(w2), x, topk_weights, topk_ids, bias13,
                                     bias2, expert_map, apply_router_weight_on_input, batch_invariant, backend)


_ARGUMENTS = ("Tensor x, Tensor topk_weights, Tensor topk_ids, Tensor? bias13, Tensor? bias2, "
              "Tensor? expert_map, ScalarType? out_dtype, Tensor w13, Tensor w2, "
              "bool apply_router_weight_on_input, bool batch_invariant, str? backend")
fused_experts = define(f"fused_experts({_ARGUMENTS}) -> Tensor", _kernel, _fake)
# The experts may be temporaries of the forward call, as those of octavo.linear.
differentiate(fused_experts, _ARGUMENTS, _vjp, (0, 1, 3, 4), (0,),
              keep=lambda inputs: held(inputs[7], inputs[8]), like=row_major)


def _silu_kernel(x, out_dtype, backend):
    return _octavo.silu_and_mul(x, out_dtype, backend)


def _silu_fake(x, out_dtype, backend):
    return x.new_empty((*x.shape[:-1], x.shape[-1] // 2), dtype=out_dtype or x.dtype)


def _silu_vjp(grad, wanted, options, x, out_dtype, backend):
    return [_octavo.silu_and_mul_vjp(grad, x, backend)]


_SILU_ARGUMENTS = "Tensor x, ScalarType? out_dtype, str? backend"
silu_and_mul = define(f"silu_and_mul({_SILU_ARGUMENTS}) -> Tensor", _silu_kernel, _silu_fake)
differentiate(silu_and_mul, _SILU_ARGUMENTS, _silu_vjp, (0,), (0,), like=row_major)
call_fused_experts, call_silu_and_mul = direct(fused_experts), direct(silu_and_mul)
