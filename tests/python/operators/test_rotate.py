# SPDX-License-Identifier: Apache-2.0
"""Rotations: octavo.quantizers.rotate, products whose activations are rotated, frameworks, gradients, graphs, pickles."""

import pickle

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.quantizers import rotate  # noqa: E402

BLOCKS = [16, 64, 256]


def floats(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def with_outliers(*shape):
    x = floats(*shape)
    x[..., 3] *= 50
    return x


@pytest.mark.parametrize("block", BLOCKS)
def test_it_is_its_own_inverse_in_every_framework(block):
    x = floats(3, 2, 2 * block)
    y = rotate(x, block)
    # Four roundings a stage, of sums of a block's magnitudes; twice.
    roundings = 2 * 4 * {16: 2, 64: 3, 256: 4}[block]
    bound = roundings * 2**-24 / (1 - roundings * 2**-24) * x.abs().reshape(3, 2, 2, block).sum(-1, keepdim=True)
    back = rotate(y, block)
    assert ((back - x).abs().reshape(3, 2, 2, block) <= bound).all() and not torch.equal(y, x)
    assert np.array_equal(rotate(x.numpy(), block), y.numpy())
    narrow = rotate(x.bfloat16().view(torch.uint16).numpy().view(ml_dtypes.bfloat16), block, out_dtype="float32")
    assert np.array_equal(narrow, rotate(x.bfloat16(), block, out_dtype=torch.float32).numpy())
    out = torch.empty_like(x)
    assert rotate(x, block, out=out) is out and torch.equal(out, y)


def test_its_gradient_is_itself():
    x = floats(5, 64).requires_grad_()
    grad = floats(5, 64, seed=2)
    rotate(x).backward(grad)
    assert torch.equal(x.grad, rotate(grad))
    halves = floats(5, 64).bfloat16().requires_grad_()
    rotate(halves, out_dtype=torch.float32).backward(grad)
    assert torch.equal(halves.grad, rotate(grad, out_dtype=torch.bfloat16))


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
@pytest.mark.parametrize("block", BLOCKS)
def test_products_rotate_their_activations(dtype, block):
    x, w = with_outliers(6, 512).bfloat16(), floats(9, 512, seed=3)
    codes = octavo.quantize(rotate(w, block), dtype, "row").T
    packed = octavo.pack(codes, activation=dtype, rotation=block)
    assert packed.activation["rotation"] == block
    got = octavo.linear(x, packed)
    want = octavo.linear(rotate(x, block, out_dtype=torch.float32), octavo.pack(codes, activation=dtype), out_dtype=torch.bfloat16)
    assert torch.equal(got, want)
    assert torch.equal(octavo.linear(x, pickle.loads(pickle.dumps(packed))), got)
    assert "rotation   of A in blocks of" in str(octavo.explain(x, packed))
    if dtype == "int8":  # outliers take the others' bits, but for a rotation
        exact = x.float() @ w.T
        plain = octavo.linear(x, octavo.pack(octavo.quantize(w, dtype, "row").T, activation=dtype)).float()
        assert (got.float() - exact).norm() < 0.5 * (plain - exact).norm()


def test_gradients_of_products_are_rotated_back():
    x, w = floats(4, 128).bfloat16().requires_grad_(), floats(7, 128, seed=3)
    packed = octavo.pack(octavo.quantize(rotate(w), "int8", "row").T, activation="int8", rotation=64)
    plain = octavo.pack(octavo.quantize(rotate(w), "int8", "row").T, activation="int8")
    grad = floats(4, 7, seed=4).bfloat16()
    octavo.linear(x, packed).backward(grad)
    rotated = rotate(x.detach(), out_dtype=torch.float32).requires_grad_()
    octavo.linear(rotated, plain, out_dtype=torch.bfloat16).backward(grad)
    assert torch.equal(x.grad, rotate(rotated.grad, out_dtype=torch.bfloat16))


def test_graphs_have_it():
    torch._dynamo.reset()
    x, w = floats(4, 128).bfloat16(), floats(7, 128, seed=3)
    packed = octavo.pack(octavo.quantize(rotate(w), "int8", "row").T, activation="int8", rotation=64)

    def block(x):
        return octavo.linear(rotate(x, 16), packed)

    assert torch.equal(torch.compile(block, fullgraph=True, backend="aot_eager")(x), block(x))


@pytest.mark.parametrize("on_input", [False, True])
def test_experts_rotate_both_activations(on_input):
    x = with_outliers(5, 64)
    w13, w2 = floats(3, 64, 64, seed=2), floats(3, 64, 32, seed=3)
    ids, weights = torch.tensor([[0, 1], [2, 0], [1, 2], [0, 2], [1, 0]]), torch.rand(5, 2)

    def packed(w, block):
        codes = [octavo.quantize(rotate(each, block), "int8", "row") for each in w]
        return octavo.moe.pack_experts(torch.stack([q.data for q in codes]), torch.stack([q.scale for q in codes]).squeeze(-1),
                                       activation="int8", rotation=block)

    x.requires_grad_()
    experts = packed(w13, 64), packed(w2, 16)
    y = octavo.moe.fused_experts(x, *experts, weights, ids, apply_router_weight_on_input=on_input)
    y.sum().backward()
    plain = x.detach().clone().requires_grad_()
    want = torch.zeros(5, 64)
    for m in range(5):
        for e, weight in zip(ids[m], weights[m]):
            row = plain[m] * weight if on_input else plain[m]
            gate, up = (w13[e] @ row).chunk(2)
            out = w2[e] @ (torch.nn.functional.silu(gate) * up)
            want[m] = want[m] + (out if on_input else out * weight)
    want.sum().backward()
    for got, exact in ((y, want), (x.grad, plain.grad)):
        assert (got - exact).norm() < 0.05 * exact.norm()


def test_what_is_refused():
    w = np.ones((32, 3), np.int8)
    for options, said in (({"rotation": 32}, "rotation must be 16, 64 or 256; got 32"), ({"rotation": 64}, "rotation must divide K = 32; got 64")):
        with pytest.raises(ValueError, match=said):
            octavo.pack(w, activation="int8", **options)
    with pytest.raises(NotImplementedError, match="rotation must be 0 with vectorwise"):
        octavo.pack(w, activation="int8", llm_int8=True, rotation=16)
    for scheme in ("llm-int8", "int8-weight-only"):
        with pytest.raises(NotImplementedError, match="quantize_weight: rotation must be 0 for llm-int8 and where activations stay"):
            octavo.checkpoints.quantize_weight(np.ones((3, 32), np.float32), scheme, rotation=16)
