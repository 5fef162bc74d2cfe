# SPDX-License-Identifier: Apache-2.0
"""Vector-Jacobian products of the operations (specification section 5), for NumPy and for tests.

PyTorch users need none of them: the operations are differentiable there.
"""

from typing import Any, Sequence

from . import _octavo
from ._octavo import UNDEFINED
from ._taking import taking
from ._typing import DTypeLike, Operand, Result, ScaleArgument, Side, Tensor

_WANTED = ("input", "mat2", "bias", "scale_a", "scale_b", "alpha", "beta", "c", "scale_result")


@taking(wanted="words")
def scaled_mm_vjp(grad: Tensor, input: Operand, mat2: Operand, scale_a: ScaleArgument = UNDEFINED,
                  scale_b: ScaleArgument = UNDEFINED, bias: Tensor | None = None,
                  scale_result: ScaleArgument = UNDEFINED, out_dtype: DTypeLike | None = None, *,
                  wanted: Sequence[str] = ("input", "mat2"),
                  gradient_dtype: DTypeLike | None = None, gradient_float32: bool = False,
                  dequantized: bool = False, **options: Any) -> dict[str, Result]:
    """The gradients of octavo.scaled_mm.

    Args:
        grad: [M, N], the gradient of a loss with respect to the result.
        wanted: names of arguments: "input", "mat2", "bias", "scale_a", "scale_b", "alpha", "beta",
            "c", "scale_result".
        gradient_dtype: of the gradients of input, mat2 and c; by default the argument's own type
            where it is float32, bfloat16 or float16, else grad's. All others are float32.
        gradient_float32: keep scaled gradients in float32 on their way into a product, instead of
            rounding them once to bfloat16.
        dequantized: gradients of the dequantised values (straight-through estimator).
        input, mat2, scale_a, scale_b, bias, scale_result, out_dtype, options: as in octavo.scaled_mm.

    Returns:
        {name: gradient}.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a, b, grad = numpy.float32([[1, 2]]), numpy.float32([[3], [4]]), numpy.float32([[10]])
        >>> d = octavo.gradients.scaled_mm_vjp(grad, a, b)
        >>> d["input"].tolist(), d["mat2"].tolist()
        ([[30.0, 40.0]], [[10.0], [20.0]])
    """
    return _named(wanted, _octavo.scaled_mm_vjp(
        grad, _mask("scaled_mm_vjp", wanted), (gradient_dtype, gradient_float32, dequantized), input,
        mat2, scale_a, scale_b, bias, scale_result, out_dtype, **options))


@taking(wanted="words", offs="?indices")
def grouped_mm_vjp(grad: Tensor, input: Operand, mat2: Operand, offs: Tensor | None = None,
                   bias: Tensor | None = None, out_dtype: DTypeLike | None = None, *,
                   wanted: Sequence[str] = ("input", "mat2"),
                   gradient_dtype: DTypeLike | None = None, gradient_float32: bool = False,
                   dequantized: bool = False, **options: Any) -> dict[str, Result]:
    """The gradients of octavo.grouped_mm's tensor forms.

    Args:
        grad: the gradient of a loss with respect to the result, of its shape.
        input, mat2, offs, bias, out_dtype, options: as in octavo.grouped_mm.
        wanted, gradient_dtype, gradient_float32, dequantized: as in scaled_mm_vjp.

    Returns:
        {name: gradient}.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> a, b, grad = numpy.float32([[1], [2]]), numpy.float32([[[3]], [[4]]]), numpy.float32([[1], [1]])
        >>> octavo.gradients.grouped_mm_vjp(grad, a, b, numpy.int32([1, 2]))["input"].tolist()
        [[3.0], [4.0]]
    """
    return _named(wanted, _octavo.grouped_mm_vjp(
        grad, _mask("grouped_mm_vjp", wanted), (gradient_dtype, gradient_float32, dequantized),
        input, mat2, offs, bias=bias, out_dtype=out_dtype, **options))


@taking()
def quantize_vjp(grad: Tensor, x: Tensor, scale: ScaleArgument, dtype: DTypeLike = "int8",
                 granularity: str = "token", *, gradient_scale: float = 1.0,
                 side: Side = "a") -> tuple[Result, Result]:
    """The gradients (of x, of scale) of x -> dequantize(quantize(x, scale=scale)).

    Learned step size quantisation (Esser et al., arXiv 1902.08153): grad passes to x where x lies in
    the range, and the scale gets gradient_scale times the sum of grad * (code - x / scale) there and of
    grad * code where x was clipped.

    Args:
        grad: [R, C], the gradient with respect to the dequantised values.
        x: [R, C], a float type.
        scale, dtype, granularity, side: as in octavo.quantize.
        gradient_scale: a factor of the scale's gradient.

    Returns:
        (gradient of x, gradient of scale).

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> x, grad = numpy.float32([[0.5, 300]]), numpy.float32([[1, 1]])
        >>> of_x, of_scale = octavo.gradients.quantize_vjp(grad, x, numpy.float32([[1]]))
        >>> of_x.tolist(), of_scale.tolist()
        ([[1.0, 0.0]], [[126.5]])
    """
    return _octavo.quantize_vjp(grad, x, scale, dtype, granularity, gradient_scale, side)


def _mask(operation: str, wanted: Sequence[str]) -> list[bool]:
    for name in wanted:
        if name not in _WANTED:
            raise ValueError(f"{operation}: wanted must name arguments of {_WANTED}; got {name!r}")
    return [name in wanted for name in _WANTED]


def _named(wanted: Sequence[str], gradients: list[Result]) -> dict[str, Result]:
    return dict(zip((name for name in _WANTED if name in wanted), gradients))
