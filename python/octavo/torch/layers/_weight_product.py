# SPDX-License-Identifier: Apache-2.0
"""The product of a frozen layer for code that reads `layer.weight` and multiplies by it itself.

torch.nn.functional.linear, matmul, mm, mv, addmm, inner and einsum of activations and such a weight are what the
layer computes: the same codes and kernels. PyTorch's attention and encoder layers, and code written like them, get the product
in 8 bits.
"""

import re
from typing import Any

import torch
from torch.autograd import forward_ad

from ..._octavo import PackedWeight
from ..operators._linear import call_linear, handle_of
from ._layer import FLOATS, autocast
from ._shared_product import PackedRows

aten = torch.ops.aten


def product(weight: Any, x: Any, bias: Any = None) -> torch.Tensor | None:
    """x W^T + bias in 8 bits, or None where the layer would not compute it: other shapes, types or devices."""
    packed = weight.packed
    if not (type(x) in (torch.Tensor, torch.nn.Parameter) and x.dtype in FLOATS and x.dim() and x.shape[-1] == packed.k
            and x.device == weight.device and (bias is None or _is_bias(bias, packed.n))):
        return None
    layer = weight.layer()
    invariant = layer is not None and layer.batch_invariant
    x = autocast(x)
    if weight.columns is not None:
        x = x.index_select(-1, weight.columns)
    if isinstance(packed, PackedRows):
        return packed.product(x, bias, invariant)
    if not isinstance(packed, PackedWeight):  # a rank's part
        return None
    return call_linear(x, bias, None, handle_of(packed), invariant, None)


def _is_bias(bias, n):
    return type(bias) in (torch.Tensor, torch.nn.Parameter) and bias.shape == (n,) and bias.dtype in FLOATS


def _linear(x, weight, bias=None):
    return product(weight, x, bias) if _is_weight(weight) else None


def _matmul(a, b):
    if _is_transposed(b):
        return product(b.of, a)
    if not _is_weight(a) or not isinstance(b, torch.Tensor) or not b.dim():
        return None
    y = product(a, b.mT if b.dim() > 1 else b)
    return y.mT if y is not None and b.dim() > 1 else y


def _addmm(c, a, b, *, beta=1, alpha=1, out_dtype=None):
    if beta == 1 and alpha == 1 and out_dtype is None and _is_transposed(b) and isinstance(c, torch.Tensor) and c.dim() == 1:
        return product(b.of, a, c)
    return None


def _reversed_matmul(a, b):
    return _matmul(b, a)


def _einsum(equation, *operands):
    """Of "bk,nk->bn" and the like: x [..., K] and the weight."""
    if len(operands) == 1 and not isinstance(operands[0], torch.Tensor):
        operands = tuple(operands[0])
    if len(operands) == 2 and isinstance(equation, str) and _ROWS_BY_WEIGHT.fullmatch(equation.replace(" ", "")):
        return _linear(*operands)
    return None


_ROWS_BY_WEIGHT = re.compile(r"((?:\.\.\.)?[a-zA-Z]*)([a-zA-Z]),([a-zA-Z])\2->\1\3")


def _attention(query, *arguments, **options):
    """Under autocasting every product of the attention gets the weight of the type of autocasting, which has no codes: the other
    tensors get that type here instead."""
    kind = query.device.type
    if not torch._C._is_any_autocast_enabled() or not torch.is_autocast_enabled(kind):
        return None
    dtype = torch.get_autocast_dtype(kind)
    query, *arguments = (_cast(value, dtype) for value in (query, *arguments))
    options = {name: _cast(value, dtype) for name, value in options.items()}
    with torch.autocast(kind, enabled=False), torch._C.DisableTorchFunctionSubclass():
        return torch.nn.functional.multi_head_attention_forward(query, *arguments, **options)


def _cast(value, dtype):
    return value.to(dtype) if type(value) in (torch.Tensor, torch.nn.Parameter) and value.dtype in FLOATS else value


def _is_weight(value):
    return getattr(value, "packed", None) is not None


def _is_transposed(value):
    return getattr(value, "of", None) is not None


_PRODUCTS = {
    torch.nn.functional.linear: _linear, aten.linear.default: _linear,
    torch.matmul: _matmul, torch.Tensor.matmul: _matmul, torch.Tensor.__matmul__: _matmul, aten.matmul.default: _matmul,
    torch.Tensor.__rmatmul__: _reversed_matmul,
    torch.mm: _matmul, torch.Tensor.mm: _matmul, aten.mm.default: _matmul, aten.mv.default: _matmul,
    torch.addmm: _addmm, aten.addmm.default: _addmm,
    torch.inner: _linear, torch.Tensor.inner: _linear, torch.einsum: _einsum,
    torch.nn.functional.multi_head_attention_forward: _attention,
}


def product_of(func: Any, args: Any, kwargs: Any) -> Any:
    """The result in 8 bits of a function of PyTorch's or an operator, or None where it is no layer's product."""
    known = _PRODUCTS.get(func)
    if known is None or torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return None  # derivatives that PyTorch takes of its own operators
    try:
        return known(*args, **kwargs)
    except TypeError:  # other arguments, which PyTorch explains
        return None


# Operators that give the transposed matrix.
_TURNS = frozenset((aten.t.default, aten.numpy_T.default, aten.mT.default, aten.mH.default, aten.matrix_H.default,
                    aten.adjoint.default))


def turns(func: Any, args: Any) -> bool:
    """Whether an operator transposes its matrix args[0]."""
    if func is aten.transpose.int:
        return {args[1] % 2, args[2] % 2} == {0, 1}
    if func is aten.permute.default:
        return [axis % 2 for axis in args[1]] == [1, 0]
    return func in _TURNS
