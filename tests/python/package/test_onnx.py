# SPDX-License-Identifier: Apache-2.0
"""ONNX's integer operators as docs/python.md spells them, against the formulas of their specification.

Source of the formulas: https://onnx.ai/onnx/operators/ (MatMulInteger 10, QLinearMatMul 21, DynamicQuantizeLinear 11).
"""

from fractions import Fraction

import numpy as np
import pytest

import octavo

TYPES = {"int8": (-128, 128), "uint8": (0, 256)}
F32 = np.float32


def integers(rng, name, *shape):
    return rng.integers(*TYPES[name], shape).astype(name)


def weight(codes, azp, scale=1.0):
    """B with one zero point, or one for each column."""
    azp = np.asarray(azp, np.int32).reshape(1, -1)
    return octavo.Quantized(codes, np.full(azp.shape, scale, F32), azp, 0, 0 if azp.size == 1 else 1)


@pytest.mark.parametrize("a_type", TYPES)
@pytest.mark.parametrize("b_type", TYPES)
@pytest.mark.parametrize("each", [False, True])
def test_mat_mul_integer(rng, a_type, b_type, each):
    """Exact, with zero points of both operands: one, or for each row of A and each column of B."""
    for m, k, n in ((1, 1, 1), (5, 40, 7), (9, 300, 33), (3, 0, 2)):
        a, b = integers(rng, a_type, m, k), integers(rng, b_type, k, n)
        a_zero, b_zero = integers(rng, a_type, m if each else 1), integers(rng, b_type, n if each else 1)
        want = (a.astype(np.int64) - a_zero[:, None]) @ (b.astype(np.int64) - b_zero)
        y = octavo.scaled_mm(a, weight(b, b_zero), scale_b=None, azp=a_zero.astype(np.int32), out_dtype="int32")
        assert y.dtype == np.int32 and np.array_equal(y, want)


@pytest.mark.parametrize("y_type", TYPES)
def test_q_linear_mat_mul(rng, y_type):
    """saturate(round(x) + y_zero), x = a_scale b_scale / y_scale times the sum; here x + y_zero is rounded once."""
    low, high = TYPES[y_type][0], TYPES[y_type][1] - 1
    compared = 0
    for m, k, n in ((5, 40, 7), (9, 300, 33)):
        a, b = integers(rng, "uint8", m, k), integers(rng, "int8", k, n)
        a_zero, b_zero, y_zero = 131, -3, int(rng.integers(low, high + 1))
        scales = [F32(s) for s in (0.013, 0.021, 0.9 * np.sqrt(k))]
        scale = F32(float(scales[0]) * float(scales[1]) / float(scales[2]))
        y = octavo.scaled_mm(a, weight(b, b_zero, scale), azp=np.array([a_zero], np.int32), bias=np.full(n, y_zero, F32),
                             out_dtype=y_type)
        sums = (a.astype(np.int64) - a_zero) @ (b.astype(np.int64) - b_zero)
        exact = Fraction(float(scales[0])) * Fraction(float(scales[1])) / Fraction(float(scales[2]))
        for total, code in zip(sums.flat, y.flat):
            x = int(total) * exact
            want = min(max(round(x) + y_zero, low), high)  # Python's round is to even
            # The scale, its product with the sum and the sum with y_zero are each rounded to float32 once.
            bound = (3 * abs(x) + abs(y_zero)) * Fraction(1, 2**24) * Fraction(1 + 2**-20)
            from_a_tie = abs(x - (x.__floor__() + Fraction(1, 2)))
            assert code == want if from_a_tie > bound else abs(int(code) - want) <= 1
            compared += from_a_tie > bound
    assert compared > 300


def test_a_tie_goes_to_the_even_code():
    """ONNX rounds x to even before an odd y_zero is added: the one place where codes differ, by one."""
    a, b = np.array([[1], [3]], np.int8), np.array([[1]], np.int8)
    y = octavo.scaled_mm(a, weight(b, 0, 0.5), bias=np.array([1], F32), out_dtype="int8")
    assert y.ravel().tolist() == [2, 2]  # 0.5 + 1, 1.5 + 1; ONNX: 0 + 1 and 2 + 1


@pytest.mark.parametrize("low,high", [(-1.0, 2.0), (0.5, 3.0), (-3.0, -0.25), (-1e-3, 1e3)])
def test_dynamic_quantize_linear(rng, low, high):
    """Scale, zero point and codes, the last ones where x / scale is no tie."""
    x = rng.uniform(low, high, (7, 33)).astype(F32)
    q = octavo.quantize(x, "uint8", "tensor", azp=True, widen=True)
    most, least = max(x.max(), F32(0)), min(x.min(), F32(0))
    scale = F32((most - least) / F32(255))
    zero = np.clip(np.rint(-least / scale), 0, 255)
    assert q.scale.item() == scale and q.azp.item() == zero
    assert np.array_equal(q.data, np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8))
    assert np.array_equal(octavo.dequantize(q), (q.data.astype(F32) - F32(zero)) * scale)
