# SPDX-License-Identifier: Apache-2.0
"""Layers whose activations and weights are rotated: frozen, in training, in states, pickles and graphs; quantize_."""

import copy
import pickle

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.quantizers import rotate  # noqa: E402
from octavo.torch import nn, quantize_  # noqa: E402

K, N = 128, 24
KINDS = {"int8-dynamic": nn.Int8Linear, "fp8-dynamic": nn.Fp8Linear}


def floats(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear():
    torch.manual_seed(3)
    return torch.nn.Linear(K, N)


def frozen(kind, block=64):
    return kind.from_float(linear(), rotation=block)


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def kind(request):
    return request.param


def test_a_frozen_layer_is_the_product_of_rotated_sides(kind):
    x = floats(2, 5, K)
    layer = frozen(kind)
    dtype = layer.quantized_weight().data.dtype
    codes = octavo.quantize(rotate(linear().weight.detach()), dtype, "row")
    assert torch.equal(layer.quantized_weight().data, codes.data) and layer.rotation == 64 and "rotation=64" in repr(layer)
    plain = octavo.pack(codes.T, activation=str(dtype).removeprefix("torch."))
    assert torch.equal(layer(x), octavo.linear(rotate(x), plain, bias=layer.bias))


def test_the_weight_that_it_shows_is_rotated_back(kind):
    layer, exact = frozen(kind), linear().weight.detach()
    values, rotated = layer.weight.clone(), octavo.dequantize(layer.quantized_weight())
    assert torch.equal(values, rotate(rotated)) and (values - exact).norm() < 0.1 * (rotated - exact).norm()
    layer.weight = torch.nn.Parameter(exact)  # quantised again
    assert torch.equal(layer.weight.clone(), values)


def test_training_multiplies_as_the_frozen_layer_does(kind):
    x = floats(7, K).requires_grad_()
    layer = kind.from_float(linear(), freeze=False, rotation=64).train()
    y = layer(x)
    assert torch.equal(y, frozen(kind)(x))
    grad = floats(7, N, seed=2)
    y.backward(grad)
    values = frozen(kind).weight.clone()
    # Gradients of dequantised values but for bfloat16's rounding of both factors, of sums of their magnitudes.
    bound = 2**-6 * grad.abs() @ values.abs().max().expand(N, K)
    assert ((x.grad - grad @ values).abs() <= bound).all()
    assert (layer.weight.grad - grad.T @ x.detach()).norm() <= 0.05 * (grad.T @ x.detach()).norm()
    assert torch.equal(layer.eval()(x.detach()), y)


def test_states_carry_it(kind):
    x, layer = floats(3, K), frozen(kind)
    want = layer(x)
    state = layer.state_dict()
    assert state["rotation"].tolist() == [64]
    for other in (frozen(kind, 16), kind.from_float(linear()), kind(K, N), frozen(kind, 0)):
        other.load_state_dict(state)
        assert torch.equal(other(x), want) and other.rotation == 64
    turned = frozen(kind)
    turned.load_state_dict(kind.from_float(linear()).state_dict())
    assert turned.rotation == 0 and torch.equal(turned(x), kind.from_float(linear())(x))
    for made in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert torch.equal(made(x), want)
    with pytest.raises(RuntimeError, match="rotation must be 16, 64 or 256; got 32"):
        turned.load_state_dict({**state, "rotation": torch.tensor([32])})


def test_graphs(kind):
    torch._dynamo.reset()
    x, layer = floats(3, K), frozen(kind)
    assert torch.equal(torch.compile(layer, fullgraph=True, backend="aot_eager")(x), layer(x))
    trained = kind.from_float(linear(), freeze=False, rotation=16)
    compiled = torch.compile(trained, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x), trained(x))


def test_canonical_weights(kind, tmp_path):
    weight = octavo.checkpoints.quantize_weight(linear().weight.detach(), kind.scheme, rotation=64)
    assert weight.activation["rotation"] == 64
    layer = kind.from_weight(weight, linear().bias.detach(), torch.float32)
    assert torch.equal(layer(floats(3, K)), frozen(kind)(floats(3, K)))
    path = tmp_path / "one.safetensors"
    if kind is nn.Fp8Linear:  # which no tool rotates
        with pytest.raises(ValueError, match="write_checkpoint: layer 'x' must have the codes"):
            octavo.checkpoints.write_checkpoint(path, {"x": weight})
        return
    octavo.checkpoints.write_checkpoint(path, {"x": weight})
    read = octavo.open_checkpoint(path).weight("x")
    assert read.activation == weight.activation
    assert torch.equal(kind.from_weight(read, linear().bias.detach(), torch.float32)(floats(3, K)), layer(floats(3, K)))


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(K, 256), torch.nn.Linear(256, N)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.mark.parametrize("scheme", KINDS)
def test_quantize_(scheme):
    x = floats(16, K)
    x[:, 5] *= 60
    model = Model()
    want, results = model(x), {}
    for block in (0, 64):
        turned = copy.deepcopy(model)
        report = quantize_(turned, scheme, rotation=block)
        assert [layer.rotation for layer in (turned.first, turned.second)] == [block] * 2 and len(report) == 2
        assert all(row.sqnr_db > 25 for row in report)
        results[block] = (turned(x) - want).norm()
    assert scheme != "int8-dynamic" or results[64] < 0.7 * results[0]


def test_what_quantize_refuses():
    for options, said in ((dict(rotation=32), "rotation must be 0, 16, 64 or 256; got 32"),
                          (dict(scheme="llm-int8", rotation=64), "rotation must come with int8-dynamic or fp8-dynamic; got llm-int8"),
                          (dict(rotation=256), "rotation must divide the 128 columns of 'first'; got 256")):
        model = Model()
        with pytest.raises(ValueError, match=said):
            quantize_(model, **options)
        assert type(model.first) is torch.nn.Linear
    with pytest.raises(ValueError, match="Int8Linear: rotation must be 16, 64 or 256 and divide in_features = 100, or 0; got 64"):
        nn.Int8Linear(100, 4, rotation=64)


def test_experts_of_a_state():
    codes13, codes2 = (torch.randint(-90, 90, shape, dtype=torch.int8) for shape in ((2, 64, 64), (2, 64, 32)))

    def experts(block):
        return nn.FusedMoE(*(octavo.moe.pack_experts(codes, 0.01, activation="int8", rotation=block) for codes in (codes13, codes2)))

    x, weights, ids = floats(3, 64), torch.rand(3, 1), torch.tensor([[0], [1], [0]], dtype=torch.int32)
    want, other = experts(16)(x, weights, ids), experts(0)
    assert not torch.equal(other(x, weights, ids), want)
    other.load_state_dict(experts(16).state_dict())
    assert torch.equal(other(x, weights, ids), want)
