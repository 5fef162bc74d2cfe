# SPDX-License-Identifier: Apache-2.0
"""octavo.norms over torch tensors: PyTorch's formula, residuals in place, graphs, refusals."""

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402

TYPES = [torch.float32, torch.bfloat16, torch.float16]


def pair(dtype):
    draw = torch.Generator().manual_seed(1)
    return [(torch.randn(3, 5, 96, generator=draw) * 4).to(dtype) for _ in range(2)]


def exact(x, weight, epsilon):
    """The formula in float64, with the one rounding in between that the contract has."""
    wide = x.double()
    t = (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)).to(weight.dtype)
    return t.double() * weight.double()


@pytest.mark.parametrize("dtype", TYPES)
def test_it_is_the_formula(dtype):
    x, _ = pair(dtype)
    weight = torch.randn(96, generator=torch.Generator().manual_seed(2)).to(dtype)
    got, want = octavo.norms.rms_norm(x, weight, 1e-5), exact(x, weight, 1e-5)
    # A rounding to the type before the weight and one after it; t may lie beside a tie.
    unit = torch.finfo(dtype).eps
    assert got.dtype == dtype and (got.double() - want).abs().le(want.abs() * 2 * unit + torch.finfo(dtype).smallest_normal).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_a_residual_becomes_the_sum(dtype):
    x, residual = pair(dtype)
    weight, total = torch.ones(96, dtype=dtype), residual.clone()
    y = octavo.norms.rms_norm(x, weight, residual=total)
    assert torch.equal(total, (x.float() + residual.float()).to(dtype))
    if dtype == torch.float32:
        assert torch.equal(y, octavo.norms.rms_norm(total, weight))


def test_it_goes_into_a_graph():
    torch._dynamo.reset()
    x, residual = pair(torch.bfloat16)
    weight = torch.rand(96).bfloat16()

    def block(x, residual):
        y = octavo.norms.rms_norm(x, weight, residual=residual)
        return octavo.norms.rms_norm(y + residual, weight)

    want_sum, got_sum = residual.clone(), residual.clone()
    want = block(x, want_sum)
    got = torch.compile(block, fullgraph=True, backend="aot_eager")(x, got_sum)
    assert torch.equal(got, want) and torch.equal(got_sum, want_sum)


def test_what_is_refused():
    x, residual = pair(torch.float32)
    with pytest.raises(NotImplementedError, match="rms_norm: tensors must come without arguments that need a gradient"):
        octavo.norms.rms_norm(x.requires_grad_())
    with torch.no_grad(), pytest.raises(ValueError, match=r"rms_norm: residual must be float32 \[3, 5, 96\], as x; got bfloat16"):
        octavo.norms.rms_norm(x, residual=residual.bfloat16())
    with torch.no_grad(), pytest.raises(ValueError, match=r"rms_norm: weight.shape must be \[96\]; got \[95\]"):
        octavo.norms.rms_norm(x, torch.ones(95))
