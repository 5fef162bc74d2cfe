# SPDX-License-Identifier: Apache-2.0
"""Layers and quantize_: what they compute, what they keep, and how they train."""

import copy
import functools
import io
import re

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.bnb.nn  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.torch import nn  # noqa: E402
from octavo.torch.models._canonical import LAYERS  # noqa: E402

SCHEMES = ["int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8-weight-only", "fp8-weight-only", "mxfp8"]
# Least cosine of two quantised layers' result with their float self, on Gaussian data. Three mantissa bits
# are an error of 2.6 % for each operand's product, so 1 - (2 * 0.026^2) / 2 and some air.
COSINE = {"int8-dynamic": 0.9998, "fp8-dynamic": 0.998, "fp8-block": 0.998, "llm-int8": 0.9998, "int8-weight-only": 0.9998,
          "fp8-weight-only": 0.999, "mxfp8": 0.998}


def gaussian(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def cosine(a, b):
    a, b = a.detach().double().flatten(), b.detach().double().flatten()
    return float(torch.nn.functional.cosine_similarity(a, b, 0))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(96, 160)
        self.block = torch.nn.Sequential(torch.nn.Linear(160, 160), torch.nn.ReLU())
        self.lm_head = torch.nn.Linear(160, 7)

    def forward(self, x):
        return self.lm_head(self.block(torch.relu(self.first(x))))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_quantize_swaps_linear_layers(scheme, dtype):
    torch.manual_seed(3)
    net = Net().to(dtype)
    x = gaussian(3, 11, 96, dtype=dtype)
    expected = net(x)
    report = octavo.torch.quantize_(net, scheme)
    assert [row.name for row in report] == ["first", "block.0"]
    assert all(row.sqnr_db > 30 for row in report) and "block.0" in str(report)
    assert isinstance(net.lm_head, torch.nn.Linear) and net.first.frozen
    y = net(x)
    assert y.dtype == dtype and cosine(y, expected) > COSINE[scheme]


def test_what_quantize_leaves_alone_and_refuses():
    net = Net()
    assert len(octavo.torch.quantize_(copy.deepcopy(net), ignore=())) == 3
    assert [r.name for r in octavo.torch.quantize_(copy.deepcopy(net), "W8A8", ignore=("first", "re:block"))] == [
        "lm_head"]
    with pytest.raises(ValueError, match="scheme must be"):
        octavo.torch.quantize_(net, "int3")
    with pytest.raises(ValueError, match="from_float"):
        octavo.torch.quantize_(torch.nn.Linear(3, 3))
    net.first.weight.data[0, 0] = float("nan")
    with pytest.raises(RuntimeError, match="first must be finite|'first' must be finite|finite"):
        octavo.torch.quantize_(net)


def test_a_bar_is_shown_on_request(capsys):
    pytest.importorskip("tqdm")
    octavo.torch.quantize_(Net(), progress=True)
    assert "octavo int8-dynamic" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", SCHEMES)
def test_state_copies_and_pickles_are_bit_equal(scheme):
    net, other = Net(), Net()
    octavo.torch.quantize_(net, scheme)
    octavo.torch.quantize_(other, scheme)
    x = gaussian(5, 96)
    expected = net(x)
    state = net.state_dict()
    assert state["first.weight"].dtype in (torch.int8, torch.float8_e4m3fn)
    other.load_state_dict(state)
    assert torch.equal(other(x), expected)
    assert torch.equal(copy.deepcopy(net)(x), expected)
    buffer = io.BytesIO()
    torch.save(net, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), expected)
    with pytest.raises(RuntimeError, match="first.weight must come with first.weight_scale"):
        other.load_state_dict(Net().state_dict())


@pytest.mark.parametrize("layer", [nn.Int8Linear, nn.Fp8Linear, nn.BlockFp8Linear])
def test_a_quantized_state_loads_into_a_layer_that_trains(layer):
    frozen = layer.from_float(torch.nn.Linear(96, 40))
    fresh = layer(96, 40)
    fresh.load_state_dict(frozen.state_dict())
    x = gaussian(5, 96)
    assert fresh.frozen and torch.equal(fresh(x), frozen(x))


@pytest.mark.parametrize("layer", [nn.Int8Linear, nn.Fp8Linear])
def test_training_and_inference_multiply_the_same_codes(layer):
    made = layer(96, 40, dtype=torch.bfloat16)
    x = gaussian(2, 5, 96, dtype=torch.bfloat16)
    trained = made(x)
    with torch.no_grad():
        assert torch.equal(made(x), trained)
        made.weight.data.mul_(2)  # which no version counter sees
        assert not torch.equal(made(x), trained)
        made.eval()
        before = made(x)
        assert torch.equal(made(x), before)
        made.weight.mul_(2)  # a new version of the weight is packed anew
        assert not torch.equal(made(x), before)
    made.freeze()
    assert made.frozen and "weight" not in dict(made.named_parameters()) and made(x).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", [nn.Int8Linear, nn.Fp8Linear, nn.BlockFp8Linear])
def test_gradients_are_those_of_the_dequantized_formula(kind):
    m, n, k = 37, 200, 300
    block = kind is nn.BlockFp8Linear
    layer = kind(k, n, dtype=torch.bfloat16)
    x = gaussian(m, k, dtype=torch.bfloat16).requires_grad_()
    grad = gaussian(m, n, seed=5, dtype=torch.bfloat16)
    layer(x).backward(grad)
    # The operands as the product saw them.
    dtype = "int8" if kind is nn.Int8Linear else "float8_e4m3fn"
    a = octavo.dequantize(octavo.quantize(x.detach(), dtype, "group128" if block else "token")).double()
    w = octavo.dequantize(octavo.quantize(layer.weight.detach(), dtype, "block128x128" if block else "token")).double()
    g = grad.double()
    # Specification section 5: section 9's gamma, plus one rounding of the scaled gradient to bfloat16.
    for found, exact, spread, terms in ((x.grad, g @ w, g.abs() @ w.abs(), n),
                                        (layer.weight.grad, g.t() @ a, g.abs().t() @ a.abs(), m)):
        steps = 2 * terms + 8
        gamma = steps * 2.0**-24 / (1 - steps * 2.0**-24)
        bound = (gamma + 2.0**-8) * spread + 2.0**-8 * exact.abs() + 2.0**-120
        assert float(((found.double() - exact).abs() / bound).max()) <= 1
    assert torch.allclose(layer.bias.grad.double(), g.sum(0), rtol=2**-7, atol=1e-3)


def test_gradient_accumulation_adds_up():
    layer = nn.Fp8Linear(32, 16)
    x = gaussian(4, 32)
    layer(x).sum().backward()
    once = layer.weight.grad.clone()
    layer(x).sum().backward()
    assert torch.allclose(layer.weight.grad, 2 * once)


def test_a_frozen_layer_passes_gradients_to_its_input():
    """grad @ W by the values that the codes stand for; the scaled gradient may be rounded to bfloat16 once (section 5)."""
    n, g = 48, gaussian(6, 48, seed=3)
    for scheme in SCHEMES:
        layer = LAYERS[scheme].from_float(torch.nn.Linear(96, n))
        x = gaussian(6, 96).requires_grad_()
        layer(x).backward(g)
        values = layer.weight.values().double()
        steps = 2 * n + 8
        bound = (steps * 2.0**-24 / (1 - steps * 2.0**-24) + 2.0**-8) * (g.double().abs() @ values.abs())
        assert ((x.grad.double() - g.double() @ values).abs() <= bound).all(), scheme


def test_linear8bitlt_keeps_outliers_in_float():
    linear = torch.nn.Linear(64, 32)
    x = gaussian(5, 64)
    x[:, 7] = 40
    exact = linear(x)
    with_outliers = nn.LLMInt8Linear.from_float(linear)(x)
    without = nn.LLMInt8Linear.from_float(linear, threshold=0.0)(x)
    assert (with_outliers - exact).norm() < 0.3 * (without - exact).norm()
    made = nn.LLMInt8Linear(64, 32, threshold=5.0).eval()
    with torch.no_grad():
        packed = made(x)
    assert torch.equal(made(x), packed)  # with gradients: unpacked codes


@pytest.mark.parametrize("scheme", ["fp8-dynamic", "int8-dynamic"])
def test_grouped_linear_is_a_linear_layer_for_each_group(scheme):
    kind = nn.Fp8Linear if scheme == "fp8-dynamic" else nn.Int8Linear
    grouped = nn.GroupedLinear(3, 48, 40, scheme=scheme)
    offs = torch.tensor([4, 4, 9], dtype=torch.int32)
    x = gaussian(12, 48).requires_grad_()
    y = grouped(x, offs)
    y.pow(2).sum().backward()
    start = 0
    for g, end in enumerate(offs.tolist()):
        single = kind(48, 40)
        single.weight.data.copy_(grouped.weight[g])
        single.bias.data.copy_(grouped.bias[g])
        part = x.detach()[start:end].requires_grad_()
        part_y = single(part)
        part_y.pow(2).sum().backward()
        assert torch.equal(part_y, y[start:end])
        assert torch.allclose(part.grad, x.grad[start:end], rtol=1e-5, atol=1e-5)
        if start == end:
            assert (grouped.weight.grad[g] == 0).all() and (grouped.bias.grad[g] == 0).all()
        else:
            assert torch.allclose(single.weight.grad, grouped.weight.grad[g], rtol=1e-4, atol=1e-4)
        start = end
    assert (y[9:] == 0).all() and (x.grad[9:] == 0).all()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_compiled_models(scheme):
    torch._dynamo.reset()
    net = Net()
    octavo.torch.quantize_(net, scheme)
    x = gaussian(5, 96)
    assert torch.equal(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x))


def test_compiled_training_step():
    torch._dynamo.reset()
    layer = nn.Fp8Linear(32, 16)
    x = gaussian(4, 32)
    layer(x).sum().backward()
    expected = layer.weight.grad.clone()
    layer.weight.grad = None
    torch.compile(layer, fullgraph=True, backend="aot_eager")(x).sum().backward()
    assert torch.equal(layer.weight.grad, expected)


def test_empty_batches():
    for kind in (nn.Int8Linear, nn.Fp8Linear, nn.LLMInt8Linear):
        layer = kind.from_float(torch.nn.Linear(8, 4))
        assert layer(torch.empty(0, 8)).shape == (0, 4)
        assert layer(torch.empty(2, 0, 8)).shape == (2, 0, 4)
    x = torch.empty(0, 8, requires_grad=True)
    layer = nn.Fp8Linear(8, 4)
    layer(x).sum().backward()
    assert (layer.weight.grad == 0).all()


LINEAR = {"Int8Linear": nn.Int8Linear, "Fp8Linear": nn.Fp8Linear, "BlockFp8Linear": nn.BlockFp8Linear,
          "LLMInt8Linear": nn.LLMInt8Linear, "QatLinear": nn.QatLinear,
          "QatLinear, fp8": functools.partial(nn.QatLinear, code=torch.float8_e4m3fn), "bnb": octavo.bnb.nn.Linear8bitLt,
          "bnb, frozen": lambda k, n: octavo.bnb.nn.Linear8bitLt(k, n, has_fp16_weights=False).to("cpu")}
SIZES = [(0, 3), (3, 0), (0, 0)]


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("shape", [(2,), (0,), (2, 0), (2, 3), ()], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("kind", LINEAR)
def test_sizes_of_zero(kind, sizes, shape):
    """As torch.nn.Linear: the bias, and gradients of the shapes of what they are of."""
    k, n = sizes
    layer = LINEAR[kind](k, n)
    frozen = [layer.from_float(torch.nn.Linear(k, n))] if hasattr(layer, "from_float") else []
    for layer in (layer, *frozen):
        for training in (True, False):
            layer.train(training)
            x = gaussian(*shape, k).requires_grad_()
            y = layer(x)
            y.sum().backward()
            with torch.no_grad():
                assert torch.equal(layer(x), y)
            assert torch.equal(y, layer.bias.expand(*shape, n)) and x.grad.shape == x.shape
        copied = copy.deepcopy(layer)
        copied.load_state_dict(layer.state_dict())
        assert torch.equal(copied(x), y)
    for layer in frozen:
        assert layer.weight.float().shape == (n, k) and layer.freeze() is layer
        layer.weight = torch.zeros(n, k)
        assert torch.equal(layer(x), y)


@pytest.mark.filterwarnings("ignore:Initializing zero-element")
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_groups_and_models_of_size_zero(sizes):
    k, n = sizes
    x = gaussian(4, k).requires_grad_()
    y = nn.GroupedLinear(2, k, n)(x, torch.tensor([1, 4]))
    y.sum().backward()
    assert y.shape == (4, n) and x.grad.shape == x.shape
    for scheme in SCHEMES:
        net = torch.nn.Sequential(torch.nn.Linear(k, n))
        report = octavo.torch.quantize_(net, scheme)
        assert str(report) and torch.equal(net(x), net[0].bias.expand(4, n))


def test_activations_of_another_width_are_refused():
    """Not taken for more or fewer rows of the layer's width."""
    for kind in LINEAR:
        with pytest.raises((ValueError, RuntimeError)):
            LINEAR[kind](16, 4)(gaussian(4, 8))


@pytest.mark.parametrize("kind", ["Int8Linear", "Fp8Linear", "BlockFp8Linear", "LLMInt8Linear"])
def test_scales_fit_the_activations_or_are_refused(kind):
    layer = LINEAR[kind].from_float(torch.nn.Linear(16, 4))
    codes = layer.quantized_weight().data[:3].contiguous()
    for shape in ((0,), (5,), (3,), (3, 0), (2, 1), (4, 1)):
        with pytest.raises(ValueError, match=rf"{kind}: x_scale.shape must be .*; got {re.escape(str(list(shape)))} for x \[3, 16\]"):
            layer(codes, torch.ones(shape))
    for scale in (torch.ones(()), torch.ones(1), torch.ones(3, 1), 1.0, torch.ones(1, 1)):
        assert layer(codes, scale).shape == (3, 4)
    for given in ({"x_scale": 100.0}, {"x_scale": torch.ones(3, 1)}, {"x_azp": torch.zeros(3, dtype=torch.int32)}):
        for layer_ in (layer, LINEAR[kind](16, 4)):
            with pytest.raises(ValueError, match=f"{kind}: x_scale and x_azp must come with codes alone .*; got x of torch.float32"):
                layer_(gaussian(3, 16), **given)


def test_a_frozen_weight_looks_like_the_float_weight():
    linear = torch.nn.Linear(24, 12, dtype=torch.bfloat16)
    layer = nn.Int8Linear.from_float(linear)
    weight = layer.weight
    assert (weight.shape, weight.dtype, weight.device) == (linear.weight.shape, torch.bfloat16, linear.weight.device)
    assert cosine(weight.float(), linear.weight) > 0.999 and "int8 [24, 12]" in repr(weight)
    assert layer.half().weight.dtype == torch.float16 and layer.bias.dtype == torch.float16
    x = gaussian(3, 24, dtype=torch.float16)
    assert cosine(torch.nn.functional.linear(x, layer.weight, layer.bias), layer(x)) > 0.999
    with pytest.raises(NotImplementedError, match="device must be cpu"):
        layer.to("meta")


def test_modules_that_look_into_their_layers():
    torch.manual_seed(2)
    encoder = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), 2).eval()
    x = gaussian(2, 5, 64)
    with torch.no_grad():
        expected = encoder(x)
        with pytest.warns(UserWarning, match="2 weights .*MultiheadAttention"):
            assert len(octavo.torch.quantize_(encoder)) == 6
        assert cosine(encoder(x), expected) > 0.999


def test_a_layer_in_two_places_stays_one():
    linear = torch.nn.Linear(8, 8)
    net = torch.nn.Sequential(linear, torch.nn.ReLU(), linear)
    assert len(octavo.torch.quantize_(net)) == 1
    assert net[0] is net[2] and net[0].frozen
