# SPDX-License-Identifier: Apache-2.0
"""What is not finite shows: in every layer a row of x with NaN or an infinity gives a row that is not finite, and
no other; a weight's row its column; gradients, too (specification sections 6 and 8). Default types of products."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.bnb as bnb  # noqa: E402
from bnb_kit import gaussian  # noqa: E402
from octavo import w8a8_utils  # noqa: E402
from octavo.torch import nn  # noqa: E402
from octavo.torch.operators import _library  # noqa: E402
from test_layer_mutations import FROZEN, K, N, OFFS, ROWS, TRAINED  # noqa: E402

EVERY = {**{f"float, {name}": make for name, make in TRAINED.items()},
         **{f"frozen, {name}": make for name, make in FROZEN.items()}}
BAD = (float("nan"), float("inf"), -float("inf"))
BAD_ROW = 5


def product(layer, x):
    if isinstance(layer, nn.GroupedLinear):
        return layer(x, OFFS)
    if isinstance(layer, nn.FusedMoE):
        return layer(x, torch.full((ROWS, 2), 0.5), torch.arange(2 * ROWS, dtype=torch.int32).view(ROWS, 2) % 3)
    return layer(x)


def shares_an_integer_scale(kind):
    """One computed integer scale covers the tensor: NaN is everybody's."""
    return kind == "float, Int8Linear, tensor"


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", EVERY)
def test_a_row_of_x_shows_in_its_row(kind, value, training):
    layer = EVERY[kind]().train(training)
    x = gaussian(ROWS, K, seed=1)
    x[BAD_ROW, 7] = value
    finite = product(layer, x).isfinite()
    assert not finite[BAD_ROW].all(), "hidden"
    others = finite[[row for row in range(ROWS) if row != BAD_ROW]]
    assert not others.any() if shares_an_integer_scale(kind) else others.all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", TRAINED)
def test_a_row_of_a_weight_shows_in_its_column(kind, value):
    layer = TRAINED[kind]()
    with torch.no_grad():
        (layer.weight[:, 2] if layer.weight.dim() == 3 else layer.weight[2])[..., 11] = value
    if isinstance(layer, bnb.nn.Linear8bitLt):
        layer.state.reset_grads()
    for training in (False, True):
        finite = product(layer.train(training), gaussian(ROWS, K, seed=1)).isfinite()
        assert not finite[:, 2].any(), "hidden"
        # One scale of a block covers its other rows: NaN codes stay in theirs.
        assert finite[:, [column for column in range(N) if column != 2]].all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", TRAINED)
def test_a_gradient_shows(kind, value):
    layer = TRAINED[kind]().train()
    y = product(layer, gaussian(ROWS, K, seed=1))
    grad = torch.zeros_like(y)
    grad[1, 2] = value
    y.backward(grad)
    weight = layer.weight.grad[0] if layer.weight.dim() == 3 else layer.weight.grad
    assert not weight[2].isfinite().all(), "hidden from a GradScaler"


def test_a_qat_layer_starts_from_finite_elements():
    layer, x = nn.QatLinear(K, N), gaussian(ROWS, K)
    x[0, 0] = torch.nan
    layer(x)
    assert layer.x_scale.isfinite().all() and layer.w_scale.isfinite().all()


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("shape", [w8a8_utils.GroupShape.PER_TENSOR, w8a8_utils.GroupShape.PER_TOKEN,
                                   w8a8_utils.GroupShape(1, 128)])
@pytest.mark.parametrize("fnuz", [False, True])
def test_vllm_names_show_it(value, static, shape, fnuz):
    if static and shape != w8a8_utils.GroupShape.PER_TENSOR:
        pytest.skip("static scales are of the tensor")
    x = gaussian(ROWS, K, seed=1)
    x[BAD_ROW, 7] = value
    op = w8a8_utils.Fp8LinearOp(static, shape, force_fp8_e4m3fnuz=fnuz)
    scale = torch.tensor(0.02) if static else None
    codes, _ = op.quant_fp8(x, scale)
    wanted = torch.zeros(codes.shape, dtype=torch.bool)
    wanted[BAD_ROW, 7] = True
    assert torch.equal(codes.float().isnan(), wanted)
    weight = octavo.quantize(gaussian(N, K, seed=2), op.quant_fp8.dtype, "tensor")
    y = op.apply(x, weight.data.t(), weight.scale.reshape(1), input_scale=scale)
    assert torch.equal(y.isfinite().all(1), torch.arange(ROWS) != BAD_ROW)


# ---- the options ----------------------------------------------------------------------------------------------------


def test_ignore_is_a_conversion():
    x = np.array([[1.0, -2.0, np.nan, np.inf, -np.inf]], np.float32)
    q = octavo.quantize(x, non_finite="ignore")
    assert q.data.tolist() == [[64, -127, 0, 127, -128]] and q.scale.item() == np.float32(2) / np.float32(127)
    assert octavo.quantizers.compute_scale(x, non_finite="ignore").scale.item() == q.scale.item()
    assert np.isnan(octavo.quantize(x).scale).all() and not octavo.quantize(x).data.any()
    for dtype in ("int8", "float8_e4m3fn"):
        for refuse in ({"non_finite": "error"}, {"finite": True}):
            with pytest.raises(ValueError, match="finite"):
                octavo.quantize(x, dtype, **refuse)
    with pytest.raises(ValueError, match="quantize: non_finite must be propagate, ignore or error; got 'never'"):
        octavo.quantize(x, non_finite="never")


def test_layers_by_each_rule():
    x, w = gaussian(4, K), octavo.quantize(gaussian(N, K, seed=2)).T
    x[1, 0] = torch.inf
    for rule in ({}, {"static_scale": 0.05, "activation_granularity": "tensor"}):
        shows = octavo.linear(x, octavo.pack(w, activation="int8", **rule))
        assert torch.equal(shows.isnan().all(1), torch.tensor([False, True, False, False]))
        hides = octavo.pack(w, activation="int8", non_finite="ignore", **rule)
        assert hides.activation["non_finite"] == "ignore" and octavo.linear(x, hides).isfinite().all()
        with pytest.raises(ValueError, match="finite"):
            octavo.linear(x, octavo.pack(w, activation="int8", non_finite="error", **rule))


def test_ranges_widen_on_request():
    x = np.array([[5.0, 6.0]], np.float32)
    own, wide = octavo.quantize(x, "uint8", azp=True), octavo.quantize(x, "uint8", azp=True, widen=True)
    assert own.scale.item() == np.float32(1) / np.float32(255) and not 0 <= own.azp.item() <= 255
    assert wide.scale.item() == np.float32(6) / np.float32(255) and wide.azp.item() == 0
    assert octavo.quantizers.compute_scale(x, "uint8", azp=True, widen=True).azp.item() == 0
    packed = octavo.pack(octavo.quantize(gaussian(N, 2)).T, activation="uint8", azp=True, widen=True)
    assert packed.activation["widen"] is True


# ---- products: default types, subnormal numbers, bias -----------------------------------------------------------------

TYPES = (torch.int8, torch.uint8, torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz,
         torch.bfloat16, torch.float16, torch.float32)


@pytest.mark.parametrize("a, b", itertools.product(TYPES, TYPES))
def test_default_types_are_the_same_everywhere(a, b):
    x, w = torch.ones(2, 3).to(a), torch.ones(3, 4).to(b)
    found = octavo.scaled_mm(x, w)
    assert (found.float() == 3).all()
    with torch._subclasses.FakeTensorMode() as mode:
        fake = octavo.scaled_mm(mode.from_tensor(x), mode.from_tensor(w))
    host = octavo.scaled_mm(_numpy(x), _numpy(w))
    assert found.dtype == fake.dtype == _library.default_out_dtype(a, b) == getattr(torch, str(host.dtype))
    batch = octavo.scaled_grouped_mm(x[None], w[None])
    assert batch.dtype == octavo.grouped_mm(x[None], w[None]).dtype == octavo.grouped_mm([x], [w])[0].dtype == found.dtype


def _numpy(tensor):
    import ml_dtypes
    name = str(tensor.dtype).removeprefix("torch.")
    dtype = getattr(ml_dtypes, name, None) or np.dtype(name)
    return tensor.float().numpy().astype(dtype)


def test_subnormal_products_are_exact_on_request():
    tiny = torch.full((2, 4), 2.0**-70, dtype=torch.bfloat16)
    want = torch.full((2, 2), 4 * 2.0**-140)
    offs = torch.tensor([2], dtype=torch.int32)
    for y in (octavo.scaled_mm(tiny, tiny.t(), out_dtype=torch.float32, subnormals="exact"),
              octavo.grouped_mm(tiny, tiny.t()[None], offs=offs, out_dtype=torch.float32, subnormals="exact"),
              octavo.grouped_mm([tiny], [tiny.t()], out_dtype=torch.float32, subnormals="exact")[0]):
        assert torch.equal(y, want)
    with pytest.raises(ValueError, match='scaled_mm: subnormals must be "exact" or None; got \'fast\''):
        octavo.scaled_mm(tiny, tiny.t(), subnormals="fast")


@pytest.mark.parametrize("shape", [(3, 1), (3, 5), (1, 5), (5,), (1,)])
def test_every_shape_of_a_bias_and_its_gradient(shape):
    x, w = gaussian(3, 8), gaussian(8, 5, seed=2)
    bias = gaussian(*shape, seed=3).requires_grad_()
    weights = gaussian(3, 5, seed=4)
    y = octavo.scaled_mm(x, w, bias=bias)
    assert torch.allclose(y, x @ w + bias, rtol=1e-5, atol=1e-5)
    assert np.array_equal(octavo.scaled_mm(x.numpy(), w.numpy(), bias=bias.detach().numpy()), y.detach().numpy())
    y.backward(weights)
    want, = torch.autograd.grad(torch.zeros(3, 5) + (other := bias.detach().requires_grad_()), other, weights)
    assert bias.grad.shape == shape and torch.allclose(bias.grad, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("a_shape, b_shape", [((6, 1), (2, 5)), ((6, 1), (2, 1)), ((6,), (2, 1, 5)), ((6, 1), (2, 1, 5))])
def test_grouped_scales_of_the_operands_rank_train(a_shape, b_shape):
    x, w, offs = gaussian(6, 8), gaussian(2, 8, 5, seed=2), torch.tensor([2, 6], dtype=torch.int32)
    a, b = (gaussian(*shape, seed=3).abs().add(0.5).requires_grad_() for shape in (a_shape, b_shape))
    y = octavo.grouped_mm(x, w, offs=offs, scale_a=a, scale_b=b)
    groups = torch.tensor([0, 0, 1, 1, 1, 1])
    plain = torch.einsum("mk,mkn->mn", x, w[groups])
    want = plain * a.reshape(6, 1) * b.reshape(2, -1)[groups]
    assert torch.allclose(y, want, rtol=1e-4, atol=1e-4)
    weights = gaussian(6, 5, seed=5)
    for got, expected in zip(torch.autograd.grad(y, (a, b), weights), torch.autograd.grad(want, (a, b), weights)):
        assert got.shape == expected.shape and torch.allclose(got, expected, rtol=1e-3, atol=1e-3)
