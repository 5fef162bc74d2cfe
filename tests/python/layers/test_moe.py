# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: the operator, the packed experts and the layer against plain float64 formulas."""

import copy
import io
import pickle

import numpy as np
import pytest

import octavo

torch = pytest.importorskip("torch")

import octavo.torch  # noqa: E402
from octavo.torch.operators import _experts  # noqa: E402
from octavo.torch.operators._linear import handle_of  # noqa: E402
from octavo.torch.nn import FusedMoE, fused_topk  # noqa: E402

E, HIDDEN, INNER, TOPK = 6, 96, 64, 3
FP8 = torch.float8_e4m3fn
SCHEMES = ["fp8-dynamic", "int8-dynamic", "fp8-block"]


def gaussian(*shape, seed=1, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def weights(seed=1):
    return gaussian(E, 2 * INNER, HIDDEN, seed=seed) * HIDDEN ** -0.5, gaussian(E, HIDDEN, INNER, seed=seed + 1) * 0.2


def routing(rows, seed=3):
    return fused_topk(gaussian(rows, E, seed=seed), TOPK)


def dequantized(codes, scale, granularity):
    codes, scale = codes.double(), scale.double()
    if granularity == "tensor":
        return codes * scale.view(-1, 1, 1)
    if granularity == "channel":
        return codes * scale.view(*codes.shape[:2], 1)
    rows, cols = (int(size) for size in granularity.removeprefix("block").split("x"))
    full = scale.repeat_interleave(rows, 1).repeat_interleave(cols, 2)
    return codes * full[:, : codes.shape[1], : codes.shape[2]]


def formula(x, w13, w2, topk_weights, topk_ids, bias13=None, bias2=None):
    """The layer in float64, over float weights."""
    x = x.double()
    y = torch.zeros(x.shape[0], w2.shape[1], dtype=torch.float64)
    for m in range(x.shape[0]):
        for t in range(topk_ids.shape[1]):
            e = int(topk_ids[m, t])
            if e < 0:
                continue
            h = w13[e].double() @ x[m] + (0 if bias13 is None else bias13[e].double())
            act = torch.nn.functional.silu(h[: h.numel() // 2]) * h[h.numel() // 2:]
            part = w2[e].double() @ act + (0 if bias2 is None else bias2[e].double())
            y[m] += topk_weights[m, t].double() * part
    return y


def error(found, exact):
    return float((found.double() - exact).norm() / exact.norm())


# 8-bit operands: about 2.6 % (e4m3fn) or 0.7 % (int8 of Gaussians) for each quantised matrix.
LIMIT = {"fp8-dynamic": 0.08, "fp8-block": 0.08, "int8-dynamic": 0.03}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_from_float(scheme, dtype, bias):
    w13, w2 = weights()
    biases = (gaussian(E, 2 * INNER, seed=7), gaussian(E, HIDDEN, seed=8)) if bias else (None, None)
    layer = FusedMoE.from_float(w13, w2, *biases, scheme=scheme)
    x = gaussian(9, HIDDEN, seed=5, dtype=dtype)
    topk_weights, ids = routing(9)
    y = layer(x, topk_weights, ids)
    assert y.dtype == dtype and y.shape == x.shape
    assert error(y, formula(x, w13, w2, topk_weights, ids, *biases)) < LIMIT[scheme]


@pytest.mark.parametrize("granularity", ["tensor", "channel", "block32x32"])
def test_w8a16_is_near_the_dequantized_formula(granularity):
    shapes = {"tensor": lambda n, k: (E,), "channel": lambda n, k: (E, n, 1),
              "block32x32": lambda n, k: (E, n // 32, k // 32)}
    codes = [gaussian(E, 2 * INNER, HIDDEN).to(FP8), gaussian(E, HIDDEN, INNER, seed=2).to(FP8)]
    scales = [gaussian(*shapes[granularity](*c.shape[1:]), seed=i).abs() * 0.05 + 0.01 for i, c in enumerate(codes)]
    layer = FusedMoE.from_quantized(codes[0], scales[0], codes[1], scales[1], granularity=granularity)
    floats = [dequantized(c, s, granularity) for c, s in zip(codes, scales)]
    x = gaussian(5, HIDDEN, seed=5)
    topk_weights, ids = routing(5)
    assert error(layer(x, topk_weights, ids), formula(x, *floats, topk_weights, ids)) < 1e-6


def test_numpy_and_torch_have_the_same_bits():
    w13, w2 = (w.to(FP8) for w in weights())
    scale = gaussian(E).abs() + 0.1
    packed = [octavo.moe.pack_experts(w, scale, activation="float8_e4m3fn") for w in (w13, w2)]
    x = gaussian(5, HIDDEN, seed=5)
    topk_weights, ids = routing(5)
    y = octavo.moe.fused_experts(x, *packed, topk_weights, ids)
    z = octavo.moe.fused_experts(x.numpy(), *packed, topk_weights.numpy(), ids.numpy().astype(np.int64))
    assert isinstance(z, np.ndarray) and np.array_equal(y.numpy(), z)
    out = np.empty_like(z)
    assert octavo.moe.fused_experts(x.numpy(), *packed, topk_weights.numpy(), ids.numpy(), out=out) is out
    assert np.array_equal(out, z)
    by_map = octavo.moe.fused_experts(x, *packed, topk_weights, ids + 2, out_dtype="float32",
                                  expert_map=torch.tensor([-1, -1, *range(E)], dtype=torch.int32))
    assert torch.equal(by_map, y)


def test_routes_to_nobody_contribute_nothing():
    layer = FusedMoE.from_float(*weights())
    x = gaussian(4, HIDDEN, seed=5)
    topk_weights, ids = routing(4)
    ids[1] = -1
    ids[2, 1:] = -1
    y = layer(x, topk_weights, ids)
    assert torch.equal(y[1], torch.zeros(HIDDEN))
    assert torch.equal(y[2], layer(x[2:3], topk_weights[2:3, :1], ids[2:3, :1])[0])
    here = torch.tensor([0, -1, 1, -1, 2, 3], dtype=torch.int32)
    assert torch.equal(layer(x, topk_weights, ids, expert_map=here),
                       layer(x, topk_weights, torch.where(ids >= 0, here[ids.long()], -1)))


def test_silu_and_mul():
    x = gaussian(3, 5, 14, seed=2)
    y = octavo.moe.silu_and_mul(x)
    exact = torch.nn.functional.silu(x[..., :7].double()) * x[..., 7:].double()
    assert y.shape == (3, 5, 7) and torch.allclose(y.double(), exact, rtol=1e-6)
    assert np.array_equal(octavo.moe.silu_and_mul(x.numpy()), y.numpy())
    assert octavo.moe.silu_and_mul(x.bfloat16()).dtype == torch.bfloat16
    assert octavo.moe.silu_and_mul(x, torch.float16).dtype == torch.float16
    with pytest.raises(NotImplementedError, match="silu_and_mul: out must come without arguments that need a gradient"):
        octavo.moe.silu_and_mul(x.requires_grad_(), out=torch.empty(3, 5, 7))


def test_silu_and_mul_has_gradients():
    x = gaussian(3, 5, 14, seed=2).requires_grad_()
    grad = gaussian(3, 5, 7, seed=3)
    (found,) = torch.autograd.grad(octavo.moe.silu_and_mul(x), x, grad)
    wide = x.detach().double().requires_grad_()
    y = torch.nn.functional.silu(wide[..., :7]) * wide[..., 7:]
    (exact,) = torch.autograd.grad(y, wide, grad.double())
    # Eight roundings of factors, whose slope's two terms are at most 1.6 together.
    bound = 16 * 2.0**-24 * (grad.abs() * (1 + x.detach()[..., 7:].abs()) * 2).repeat(1, 1, 2)
    assert ((found - exact).abs() <= bound).all()
    torch.library.opcheck(_experts.silu_and_mul, (gaussian(2, 6).requires_grad_(), torch.float16, None))


def test_expert_weights_come_back_and_can_be_pickled():
    codes = gaussian(E, 2 * INNER, HIDDEN).to(FP8)
    scale = gaussian(E, 2 * INNER // 32, HIDDEN // 32).abs()
    packed = octavo.moe.pack_experts(codes, scale, granularity="block32x32", activation=FP8,
                                 activation_granularity="group32")
    assert (packed.experts, packed.n, packed.k, packed.dtype) == (E, 2 * INNER, HIDDEN, "float8_e4m3fn")
    assert len(packed) == E and packed.granularity == "block32x32" and "6, 128, 96" in repr(packed)
    assert packed.activation["activation_granularity"] == "group32"
    for one in (packed, pickle.loads(pickle.dumps(packed)), copy.deepcopy(packed)):
        found, scales, granularity = one.unpack(codes)
        assert torch.equal(found.view(torch.uint8), codes.view(torch.uint8))
        assert torch.equal(scales, scale) and granularity == "block32x32" and one.activation == packed.activation
    x = octavo.quantize(gaussian(2, HIDDEN), FP8)
    assert isinstance(packed[-1], octavo.types.PackedWeight)
    alone = octavo.pack(codes[-1].t(), scale[-1].t(), granularity="block32x32")
    assert torch.equal(octavo.scaled_mm(x.data, packed[-1], x.scale), octavo.scaled_mm(x.data, alone, x.scale))
    with pytest.raises(IndexError):
        packed[E]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_state_and_pickle_keep_the_bits(scheme):
    bias = gaussian(E, HIDDEN, seed=8)
    layer = FusedMoE.from_float(*weights(), bias2=bias, scheme=scheme)
    arguments = (gaussian(5, HIDDEN, seed=5), *routing(5))
    expected = layer(*arguments)
    other = FusedMoE.from_float(*weights(seed=40), bias2=torch.zeros_like(bias), scheme=scheme)
    assert not torch.equal(other(*arguments), expected)
    assert sorted(layer.state_dict()) == ["bias2", "w13", "w13_scale", "w2", "w2_scale"]
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(*arguments), expected)
    assert torch.equal(copy.deepcopy(layer)(*arguments), expected)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(*arguments), expected)
    wrong = layer.state_dict() | {"w2": torch.zeros(E, HIDDEN, 2, dtype=torch.int8)}
    with pytest.raises(RuntimeError, match="size mismatch for w2"):
        other.load_state_dict(wrong)
    with pytest.raises(RuntimeError, match="w13"):
        other.load_state_dict({k: v for k, v in layer.state_dict().items() if k != "w13"})


def test_fused_topk():
    logits = gaussian(4, E, dtype=torch.bfloat16)
    topk_weights, ids = fused_topk(logits, 2, renormalize=True)
    assert topk_weights.dtype == torch.float32 and ids.dtype == torch.int32
    exact = torch.softmax(logits.float(), -1)
    assert torch.equal(ids.long(), exact.topk(2).indices)
    assert torch.allclose(topk_weights.sum(-1), torch.ones(4))
    assert torch.equal(fused_topk(logits, 2)[0], exact.topk(2).values)


def of_two_linears(layer, x, ids):
    """What one expert a row makes of x, by separate operations, in float32."""
    rows = []
    for row, expert in zip(x, ids.flatten().tolist()):
        h = octavo.linear(row, layer.w13[expert], out_dtype=torch.float32)
        rows.append(octavo.linear(octavo.moe.silu_and_mul(h), layer.w2[expert]))
    return torch.stack(rows)


@pytest.mark.parametrize("scheme", ("fp8-dynamic", "int8-dynamic", "fp8-block"))
def test_gradients_are_those_of_the_separate_operations(scheme):
    layer = FusedMoE.from_float(*weights(), scheme=scheme)
    x = gaussian(7, HIDDEN).requires_grad_()
    _, ids = routing(7)
    ids = ids[:, :1].clamp(min=0).contiguous()
    half = torch.full((7, 1), 0.5, requires_grad=True)  # whose products are exact
    grad = gaussian(7, HIDDEN, seed=8)
    of_x, of_weights = torch.autograd.grad(layer(x, half, ids), (x, half), grad)
    y = of_two_linears(layer, x, ids)
    assert torch.equal(of_x, torch.autograd.grad(y, x, grad * 0.5)[0])
    sums = (y.detach().double() * grad.double()).sum(-1, keepdim=True)
    torch.testing.assert_close(of_weights.double(), sums, rtol=2.0**-23, atol=0)


def test_gradients_of_biases_and_of_the_input_of_weights():
    w13, w2 = (octavo.moe.pack_experts(w) for w in weights())
    topk_weights, ids = routing(9)
    tensors = [t.requires_grad_() for t in (gaussian(9, HIDDEN), topk_weights, gaussian(E, 2 * INNER, seed=4),
                                            gaussian(E, HIDDEN, seed=5))]
    stored = [w.double() for w in weights()]
    for on_input in (False, True):
        y = octavo.moe.fused_experts(tensors[0], w13, w2, tensors[1], ids, bias13=tensors[2], bias2=tensors[3],
                                 apply_router_weight_on_input=on_input)
        grad = gaussian(9, HIDDEN, seed=6)
        found = torch.autograd.grad(y, tensors, grad)
        x, factors, bias13, bias2 = wide = [t.detach().double().requires_grad_() for t in tensors]
        sums = []
        for m in range(9):
            terms = [x.new_zeros(HIDDEN)]
            for slot, expert in enumerate(ids[m].tolist()):
                if expert < 0:
                    continue
                before, behind = (factors[m, slot], 1.0) if on_input else (1.0, factors[m, slot])
                gate, up = (stored[0][expert] @ (x[m] * before) + bias13[expert]).chunk(2)
                terms.append(behind * (stored[1][expert] @ (torch.nn.functional.silu(gate) * up) + bias2[expert]))
            sums.append(torch.stack(terms).sum(0))
        exact = torch.autograd.grad(torch.stack(sums), wide, grad.double())
        for got, want in zip(found, exact):  # of float32 products one behind the other
            assert (got - want).norm() <= 2.0**-24 * (HIDDEN + 2 * INNER) * want.norm()


def test_routers_and_inputs_train():
    layer = FusedMoE.from_float(*weights())
    router = torch.nn.Linear(HIDDEN, E)
    x = gaussian(6, HIDDEN, dtype=torch.bfloat16).requires_grad_()
    topk_weights, ids = fused_topk(router(x.float()), 2)
    layer(x, topk_weights, ids).float().square().sum().backward()
    assert x.grad.dtype == torch.bfloat16 and x.grad.abs().sum() > 0 and router.weight.grad.abs().sum() > 0
    with pytest.raises(NotImplementedError, match="fused_experts: out must come without arguments that need a gradient"):
        octavo.moe.fused_experts(x, layer.w13, layer.w2, *routing(6), out=torch.empty(6, HIDDEN, dtype=torch.bfloat16))
    with torch.no_grad():
        layer(x, *routing(6))


def test_errors_are_those_of_cpp():
    layer = FusedMoE.from_float(*weights())
    topk_weights, ids = routing(2)
    with pytest.raises(ValueError, match=r"fused_experts: topk_ids\[1, 2\] must be in \[-1, 6\); got 6"):
        ids[1, 2] = 6
        layer(gaussian(2, HIDDEN), topk_weights, ids)
    with pytest.raises(ValueError, match="batch_invariant must come with"):
        packed = [octavo.moe.pack_experts(w.to(FP8), activation=FP8, activation_granularity="tensor") for w in weights()]
        octavo.moe.fused_experts(gaussian(2, HIDDEN), *packed, *routing(2), batch_invariant=True)
    with pytest.raises(ValueError, match="FusedMoE: scheme must be one of"):
        FusedMoE.from_float(*weights(), scheme="fp4")


def test_explain():
    layer = FusedMoE.from_float(*weights())
    found = octavo.moe.explain_fused_experts(gaussian(5, HIDDEN), layer.w13, layer.w2, *routing(5))
    assert found.routes == 15 and 0 < found.touched <= E and found.workspace_bytes > 0
    assert [c.chosen for c in found.by_w13.candidates].count(True) == 1 and "by w2" in str(found)


def test_opcheck():
    layer = FusedMoE.from_float(*weights())
    for dtype in (None, torch.float32):
        arguments = (gaussian(2, 3, HIDDEN, dtype=torch.bfloat16), *routing(6), gaussian(E, 2 * INNER), None, None,
                     dtype, handle_of(layer.w13), handle_of(layer.w2), False, False, None)
        torch.library.opcheck(_experts.fused_experts, arguments)
        arguments[0].requires_grad_()
        torch.library.opcheck(_experts.fused_experts, arguments)


def test_compiles_without_a_graph_break():
    layer = FusedMoE.from_float(*weights())
    arguments = (gaussian(5, HIDDEN), *routing(5))
    compiled = torch.compile(lambda *a: layer(*a) * 2, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert torch.equal(compiled(*arguments), layer(*arguments) * 2)
    arguments[0].requires_grad_()
    found, want = (torch.autograd.grad(y.sum(), arguments[0])[0] for y in (compiled(*arguments), layer(*arguments) * 2))
    assert torch.equal(found, want)


def test_static_activations():
    w13, w2 = weights()
    scales = [w.abs().amax(2, keepdim=True) / 448 for w in (w13, w2)]
    codes = [(w / s).to(FP8) for w, s in zip((w13, w2), scales)]

    def made(input13, input2):
        return FusedMoE.from_quantized(codes[0], scales[0], codes[1], scales[1], activation=FP8,
                                       w13_input_scale=input13, w2_input_scale=input2)

    x = gaussian(7, HIDDEN, dtype=torch.bfloat16)
    topk_weights, ids = routing(7)
    layer = made(torch.tensor([0.001, 0.01]), torch.tensor(0.02))  # the largest of the experts' counts
    layer.batch_invariant = True
    y = layer(x, topk_weights, ids)
    assert torch.equal(y[2:5], layer(x[2:5], topk_weights[2:5], ids[2:5]))
    shown = octavo.quantize(x, FP8, "tensor", scale=torch.tensor([0.01]))
    exact = formula(octavo.dequantize(shown), *(dequantized(c, s, "channel") for c, s in zip(codes, scales)),
                    topk_weights, ids)
    assert float((y.double() - exact).norm() / exact.norm()) < 0.05  # e4m3 of what is between the products
    other = made(torch.tensor(1.0), torch.tensor(1.0))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x, topk_weights, ids), y)
    tensor = FusedMoE.from_quantized(codes[0], scales[0], codes[1], scales[1], activation=FP8,
                                     activation_granularity="tensor")
    tensor.batch_invariant = True
    with pytest.raises(ValueError, match="batch_invariant must come with"):
        tensor(x, topk_weights, ids)
