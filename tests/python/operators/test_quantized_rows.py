# SPDX-License-Identifier: Apache-2.0
"""rms_norm_quantize and silu_and_mul_quantize: the two calls bit for bit, operators in graphs, codes into products."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402

TYPES = [torch.float32, torch.bfloat16, torch.float16]
RULES = [dict(), dict(dtype="float8_e4m3fn"), dict(dtype="float8_e4m3fn", granularity="group32"), dict(granularity="tensor"),
         dict(dtype="uint8", azp=True), dict(granularity="tensor", scale=0.02), dict(dtype="float8_e4m3fn", granularity="tensor", scale=0.01),
         dict(granularity="column")]


def floats(*shape, seed=1, dtype=torch.float32):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 4).to(dtype)


def same(got, want):
    assert (got.rows, got.cols) == (want.rows, want.cols)
    for part in ("data", "scale", "azp"):
        a, b = getattr(got, part), getattr(want, part)
        assert (a is None) == (b is None)
        assert a is None or (a.dtype == b.dtype and torch.equal(a.view(torch.uint8), b.view(torch.uint8)))


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_they_are_the_two_calls(dtype, rule):
    x, residual, weight = floats(7, 96, dtype=dtype), floats(7, 96, seed=2, dtype=dtype), floats(96, seed=3, dtype=dtype)
    sums = residual.clone(), residual.clone()
    want = octavo.quantize(octavo.norms.rms_norm(x, weight, 1e-5, residual=sums[0]), **rule)
    same(octavo.norms.rms_norm_quantize(x, weight, 1e-5, residual=sums[1], **rule), want)
    assert torch.equal(*sums)
    same(octavo.moe.silu_and_mul_quantize(x, **rule), octavo.quantize(octavo.moe.silu_and_mul(x), **rule))


def test_leading_dimensions_are_rows():
    x = floats(2, 3, 64)
    same(octavo.norms.rms_norm_quantize(x), octavo.norms.rms_norm_quantize(x.reshape(6, 64)))
    numpys = octavo.norms.rms_norm_quantize(x.numpy())
    assert isinstance(numpys.data, np.ndarray) and numpys.data.shape == (6, 64)


def test_operators_are_the_functions_and_go_into_graphs():
    torch._dynamo.reset()
    ops = torch.ops.octavo
    x, weight, wide = floats(5, 64, dtype=torch.bfloat16), floats(64, seed=2).bfloat16(), floats(5, 128, seed=3, dtype=torch.bfloat16)

    def block(x, residual, wide):
        first = ops.rms_norm_quantize(x, weight, 1e-5, None, None, torch.int8, "token", True)
        second = ops.rms_norm_quantize.residual(x, residual, weight, 1e-5, None, None, torch.float8_e4m3fn, "token")
        third = ops.silu_and_mul_quantize(wide, torch.tensor(0.01), None, torch.int8, "tensor")
        return *first, *second[:2], *third[:2], residual + 1

    got, want, compiled = floats(5, 64, seed=4, dtype=torch.bfloat16), floats(5, 64, seed=4, dtype=torch.bfloat16), floats(5, 64, seed=4, dtype=torch.bfloat16)
    eager = block(x, got, wide)
    traced = torch.compile(block, fullgraph=True, backend="aot_eager")(x, compiled, wide)
    assert all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in zip(eager, traced))
    first = octavo.norms.rms_norm_quantize(x, weight, 1e-5, azp=True)
    second = octavo.norms.rms_norm_quantize(x, weight, 1e-5, "float8_e4m3fn", residual=want)
    third = octavo.moe.silu_and_mul_quantize(wide, granularity="tensor", scale=0.01)
    functions = first.data, first.scale, first.azp, second.data, second.scale, third.data, third.scale, want + 1
    assert all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in zip(eager, functions))
    assert torch.equal(got, want) and torch.equal(compiled, want)


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
def test_codes_go_into_a_product(dtype):
    """linear of the norm quantises per token; the codes of the one call give its bits."""
    x, weight = floats(5, 64, dtype=torch.bfloat16), floats(64, seed=2).bfloat16()
    packed = octavo.pack(octavo.quantize(floats(32, 64, seed=3), dtype, "row").T, activation=dtype)
    want = octavo.linear(octavo.norms.rms_norm(x, weight), packed)
    codes = octavo.norms.rms_norm_quantize(x, weight, 1e-6, dtype)
    assert torch.equal(octavo.scaled_mm(codes, packed, out_dtype=torch.bfloat16), want)


def test_what_is_refused():
    with pytest.raises(ValueError, match="rms_norm_quantize: non_finite must be propagate or ignore, as rows are quantised"):
        octavo.norms.rms_norm_quantize(floats(2, 8), non_finite="error")
    with pytest.raises(ValueError, match=r"silu_and_mul_quantize: x.shape must be \[..., 2 I\]"):
        octavo.moe.silu_and_mul_quantize(floats(2, 7))
