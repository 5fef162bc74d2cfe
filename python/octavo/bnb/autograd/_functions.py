# SPDX-License-Identifier: Apache-2.0
"""matmul and its gradient by LLM.int8() (Dettmers et al., arXiv 2208.07339; specification section 8)."""

import torch

from ... import _octavo
from ..._taking import taking
from ...torch.operators import _int8
from ...torch.layers._layer import as_rows, check_float
from ...torch.operators._library import first_order
from ...torch.operators._linear import call_linear
from .._state import Codes, GlobalOutlierPooler, MatmulLtState

__all__ = ["GlobalOutlierPooler", "MatMul8bitFp", "MatMul8bitLt", "MatmulLtState", "matmul"]


def _check(operation, A, B, state):
    if A.dim() < 1:
        raise ValueError(f"{operation}: A.shape must be [..., K]; got []")
    check_float(operation, "A.dtype", A.dtype)
    if not (state.quantized and not state.has_fp16_weights) and (B.dim() != 2 or not B.dtype.is_floating_point):
        raise ValueError(f"{operation}: B must be a float weight [N, K], or state must hold its codes (CB, SCB); "
                         f"got {B.dtype} {list(B.shape)}")
    if state.outlier_weights not in ("int8", "original"):
        raise ValueError(f"{operation}: state.outlier_weights must be \"int8\" or \"original\"; got "
                         f"{state.outlier_weights!r}")
    if state.weight_gradient not in ("int8", "exact", None):
        raise ValueError(f"{operation}: state.weight_gradient must be \"int8\" or \"exact\", or None for what bitsandbytes "
                         f"takes on the device; got {state.weight_gradient!r}")
    if state.outlier_weights == "original" and not state.has_fp16_weights:
        raise ValueError(f"{operation}: state.outlier_weights must be \"int8\" without has_fp16_weights (the original "
                         "weight is not kept); got \"original\"")


def _prepared(operation, A, B, state):
    """The state, a new one where there is none, and its codes, which are B's and fit A."""
    state = state or MatmulLtState()
    _check(operation, A, B, state)
    codes = state.codes_of(B)
    k = codes.row_major.shape[1] if codes.packed is None else codes.packed.k
    if A.shape[-1] != k:
        raise ValueError(f"{operation}: A.shape must be [..., K = {k}] (B is [N, K]); got {list(A.shape)}")
    return state, codes


def _multiply(A, B, codes: Codes, bias, out, state):
    """y, and the outlier columns (None without a threshold)."""
    pool = state.pool()
    columns = None if state.threshold <= 0.0 and state.outlier_columns is None and pool is None else []
    pooled = None if pool is None else pool.get_current_outlier_idx(A.shape[-1])
    original = B.detach() if state.outlier_weights == "original" else None
    if codes.packed is None:
        fixed = _united(state.outlier_columns, pooled)
        y = _octavo.int8_linear(A, *codes.rows(), bias, state.threshold,
                                whole_columns=state.whole_columns, outlier_columns=fixed,
                                outlier_weight=original, batch_invariant=state.batch_invariant,
                                out=out, columns=columns)
    else:
        linear = _octavo.linear if columns is None else _octavo.linear_with_columns
        y = linear(A, codes.packed, bias, batch_invariant=state.batch_invariant, out=out,
                   outlier_columns=pooled, outlier_weight=None if original is None else original.T)
        if columns is not None:
            y, columns = y
    if pool is not None:
        pool.add_outliers(columns, A.shape[-1])
    return y, None if columns is None else torch.tensor(columns, dtype=torch.int64)


def _united(first, second):
    if first is None or second is None:
        return second if first is None else first
    return torch.unique(torch.cat([first, second]))  # ascending


def _is_exact(A, state):
    """Whether matmul gives the weight's exact gradient: unless asked, where bitsandbytes' matmul does, on CPUs."""
    return A.device.type == "cpu" if state.weight_gradient is None else state.weight_gradient == "exact"


class MatMul8bitLt(torch.autograd.Function):
    """y = A B^T + bias by LLM.int8(), with gradients for A, B and bias.

    A [..., K] bfloat16, float16 or float32, quantised from its own type; B [N, K], whose codes the
    state keeps; y [..., N] of A's type. grad_A = (grad * SCB/127) CB from the codes as they are;
    grad_B is an int8 product of codes by column plus the outlier columns in float, or with
    state.weight_gradient "exact" grad^T A with float32 sums; in B's type. (matmul's own gradient of B
    is exact on a CPU unless the state asks for "int8".)

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> bnb.MatMul8bitLt.apply(torch.ones(1, 4), torch.eye(4), None, None, bnb.MatmulLtState()).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """

    @staticmethod
    def forward(ctx, A, B, out=None, bias=None, state=None):
        state, codes = _prepared("MatMul8bitLt", A, B, state)
        ctx.exact = state.weight_gradient == "exact"
        y, ctx.columns = _multiply(A, B, codes, bias, out, state)
        state.idx = ctx.columns
        if out is not None:
            ctx.mark_dirty(out)
        _, needs_b, _, needs_bias, _ = ctx.needs_input_grad
        # Only the gradient of B has A's values in it, and none the bias's: a layer that was made in inference
        # mode can stand among others that train.
        ctx.save_for_backward(A if needs_b else None)
        ctx.bias = (bias.shape, bias.dtype) if needs_bias else None
        ctx.shape_a, ctx.dtype_a, ctx.dtype_b = A.shape, A.dtype, getattr(B, "dtype", None)
        ctx.threshold = state.threshold
        ctx.codes = codes.rows() if needs_b or codes.packed is None else None
        ctx.packed = codes.packed
        return y

    @staticmethod
    def backward(ctx, grad):
        A, = ctx.saved_tensors
        needs_a, needs_b, _, needs_bias, _ = ctx.needs_input_grad
        bias = _like(ctx.bias)
        if A is None:
            A = grad.new_empty((), dtype=ctx.dtype_a).expand(ctx.shape_a)
        if ctx.codes is None:
            d = _octavo.linear_vjp(grad, [needs_a, needs_bias], A, ctx.packed, bias)
        else:
            d = _int8.linear_vjp(grad, [needs_a, needs_b, needs_bias], A, *ctx.codes, bias, ctx.threshold,
                                 ctx.columns, ctx.dtype_b, ctx.exact)
        d = iter(first_order("MatMul8bitLt", (grad, A), tuple(d)))
        grad_A = next(d) if needs_a else None
        grad_B = next(d) if needs_b else None
        grad_bias = next(d).to(bias.dtype).reshape(bias.shape) if needs_bias else None
        return grad_A, grad_B, None, grad_bias, None


class _Matmul(MatMul8bitLt):
    """MatMul8bitLt as matmul runs it: the weight's gradient is that of bitsandbytes' matmul."""

    @staticmethod
    def forward(ctx, A, B, out=None, bias=None, state=None):
        y = MatMul8bitLt.forward(ctx, A, B, out, bias, state)
        ctx.exact = _is_exact(A, state)
        return y


class MatMul8bitFp(torch.autograd.Function):
    """y = A W^T + bias, W = CB * (SCB / 127) in A's type: activations are not quantised, and the state's
    threshold has no part. Gradients for A, B and bias. On request: matmul runs MatMul8bitLt, which is
    the faster one here.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> bnb.MatMul8bitFp.apply(torch.ones(1, 4), torch.eye(4), None, None, bnb.MatmulLtState()).tolist()
        [[1.0, 1.0, 1.0, 1.0]]
    """

    @staticmethod
    def forward(ctx, A, B, out=None, bias=None, state=None):
        state, codes = _prepared("MatMul8bitFp", A, B, state)
        ctx.state_codes = codes.rows()
        W = _dequantized(*ctx.state_codes, A.dtype)
        ctx.save_for_backward(A)
        ctx.bias = None if bias is None else (bias.shape, bias.dtype)
        ctx.dtype_b = getattr(B, "dtype", None)
        y = torch.nn.functional.linear(A, W, None if bias is None else bias.to(A.dtype))
        if out is None:
            return y
        ctx.mark_dirty(out)
        return out.copy_(y)

    @staticmethod
    def backward(ctx, grad):
        A, = ctx.saved_tensors
        needs_a, needs_b, _, needs_bias, _ = ctx.needs_input_grad
        bias = _like(ctx.bias)
        rows = as_rows(grad)
        grad_A = grad.to(A.dtype) @ _dequantized(*ctx.state_codes, A.dtype) if needs_a else None
        grad_B = (rows.T @ as_rows(A).to(grad.dtype)).to(ctx.dtype_b) if needs_b else None
        grad_bias = rows.sum(0, dtype=bias.dtype).reshape(bias.shape) if needs_bias else None
        grad_A, grad_B, grad_bias = first_order("MatMul8bitFp", (grad, A), (grad_A, grad_B, grad_bias))
        return grad_A, grad_B, None, grad_bias, None


def _like(form):
    """Something of the bias's shape and type: gradients ask for no more."""
    return None if form is None else torch.empty(form[0], dtype=form[1])


def _dequantized(codes, absmax, dtype):
    return _octavo.int8_vectorwise_dequant(codes, absmax).to(dtype)


@taking(B="any", out="?out", state=MatmulLtState)
def matmul(A: torch.Tensor, B: torch.Tensor, out: torch.Tensor | None = None, state: MatmulLtState | None = None,
           threshold: float = 0.0, bias: torch.Tensor | None = None) -> torch.Tensor:
    """y = A B^T + bias by LLM.int8().

    Args:
        A: [..., K], bfloat16, float16 or float32.
        B: [N, K], a float type; or an Int8Params, or anything where the state holds CB and SCB of a
            frozen weight.
        out: [..., N] of A's type, any strides; gradients go through it as through a fresh result.
        state: keeps the codes between calls; a new one quantises B in each.
        threshold: overrides state.threshold where it is above 0.
        bias: [N], a float type.

    The gradient of B is exact on a CPU, as in bitsandbytes; state.weight_gradient = "int8" makes it a product of codes.

    Returns:
        [..., N] of A's type.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: a second derivative.

    Example:
        >>> import torch, octavo.bnb as bnb
        >>> x, w = torch.ones(2, 4), torch.eye(4, requires_grad=True)
        >>> bnb.matmul(x, w).sum().backward()
        >>> w.grad[0].tolist()
        [2.0, 2.0, 2.0, 2.0]
    """
    state = state or MatmulLtState()
    if threshold > 0.0:
        state.threshold = threshold
    if torch.compiler.is_compiling():
        return _traced(A, B, out, bias, state)
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError("matmul: torch.func's transforms (grad, vmap, jvp) must be absent (the state changes "
                                  "with a product; torch.autograd.grad differentiates it); got a call under one")
    return _Matmul.apply(A, B, out, bias, state)


def _traced(A, B, out, bias, state):
    """The same as operators that torch.compile sees; the state's codes are read, and not changed."""
    if out is not None or state.use_pool:
        raise ValueError("matmul: out and state.use_pool must be absent under torch.compile; got one")
    _check("matmul", A, B, state)
    frozen = state.quantized and not state.has_fp16_weights
    if frozen and state.packed_fits:
        return call_linear(A, bias, None, state.handle, state.batch_invariant, None)
    if frozen:
        codes, absmax, weight = state.CB, state.SCB, None
    else:
        codes, absmax, _ = _int8.vectorwise_quant(B.detach())
        weight = B
    original = B.detach() if state.outlier_weights == "original" else None
    return _int8.linear(A, weight, codes, absmax, bias, state.threshold, state.whole_columns,
                        state.outlier_columns, original, state.batch_invariant, _is_exact(A, state))
