# SPDX-License-Identifier: Apache-2.0
"""Quantisation-aware training: gradients of learned scales, and the example."""

import copy
import json
import subprocess
import sys
from pathlib import Path

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import octavo.torch  # noqa: E402
from octavo.torch.nn import QatLinear  # noqa: E402

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "python" / "qat_digits.py"


class Round(torch.autograd.Function):
    """Rounding with the straight-through estimator: what autograd needs for LSQ written out."""

    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, grad):
        return grad


def written_out(layer, x):
    """The layer in float64 by LSQ's own formula, with its factor on the scales' gradients."""

    def fake(v, scale):
        factor = (v.numel() / scale.numel() * 127) ** -0.5
        s = (scale - scale * factor).detach() + scale * factor
        return Round.apply((v / s).clamp(-128, 127)) * s

    return fake(x, layer.x_scale) @ fake(layer.weight, layer.w_scale).t() + layer.bias


def test_gradients_are_those_of_learned_step_sizes():
    torch.manual_seed(1)
    layer = QatLinear(40, 12)
    x = torch.randn(9, 40) * 3
    layer(x)
    with torch.no_grad():
        layer.x_scale.mul_(0.5)  # so that some values are clipped
        layer.w_scale.mul_(0.4)
    exact = SimpleNamespace(**{n: p.detach().double().requires_grad_() for n, p in layer.named_parameters()})
    grad = torch.randn(9, 12)
    x32, x64 = x.clone().requires_grad_(), x.double().requires_grad_()
    y = layer(x32)
    y.backward(grad)
    expected = written_out(exact, x64)
    expected.backward(grad.double())
    assert torch.allclose(y.double(), expected, rtol=1e-5, atol=1e-5)
    pairs = [(x32.grad, x64.grad)]
    pairs += [(getattr(layer, n).grad, getattr(exact, n).grad) for n in ("weight", "bias", "x_scale", "w_scale")]
    for found, wanted in pairs:
        # One rounding of the scaled gradient to bfloat16.
        assert float((found.double() - wanted).norm()) <= 2**-7 * float(wanted.norm())


def test_fp8_codes_train_too():
    layer = QatLinear(16, 8, code=torch.float8_e4m3fn)
    layer(torch.randn(4, 16)).sum().backward()
    assert layer.w_scale.grad is not None and layer.x_scale.grad is not None
    with pytest.raises(ValueError, match="code must be one of"):
        QatLinear(4, 4, code=torch.int32)


BATCHES = {"empty": torch.empty(0, 16), "zeros": torch.zeros(4, 16), "NaN": torch.full((4, 16), torch.nan),
           "infinities and zeros": torch.tensor([[torch.inf] + 15 * [0.0]])}


@pytest.mark.parametrize("code", [torch.int8, torch.float8_e4m3fn])
@pytest.mark.parametrize("kind", BATCHES)
def test_scales_wait_for_a_batch_that_has_one(kind, code):
    """One that says nothing of activations leaves no trace, whatever came of it."""
    torch.manual_seed(0)
    layer, x = QatLinear(16, 8, code=code), torch.randn(32, 16)
    fresh = copy.deepcopy(layer)
    for _ in range(2):
        y = layer(BATCHES[kind].clone().requires_grad_())
        y.sum().backward()
        assert y.shape == (len(BATCHES[kind]), 8) and not layer.scales_set and layer.x_scale == 1
    assert torch.equal(layer(x), fresh(x)) and layer.scales_set
    assert torch.equal(layer.x_scale, fresh.x_scale) and torch.equal(layer.w_scale, fresh.w_scale)
    layer(BATCHES[kind])
    assert torch.equal(layer.x_scale, fresh.x_scale)


def test_scales_of_large_activations_are_finite():
    layer = QatLinear(16, 8)
    assert layer(torch.full((32, 16), 3e38)).isnan().sum() == 0 and layer.x_scale.isfinite()


def test_the_digits_example_reaches_the_float_accuracy(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    plot = tmp_path / "losses.svg"
    done = subprocess.run([sys.executable, EXAMPLE, "--json", "--plot", plot], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["float32"]["accuracy"] > 0.95
    assert result["int8"]["accuracy"] >= result["float32"]["accuracy"] - 0.01
    assert plot.stat().st_size > 1000
