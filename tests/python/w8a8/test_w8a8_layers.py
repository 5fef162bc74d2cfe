# SPDX-License-Identifier: Apache-2.0
"""Layers of checkpoints' tensors: what is loaded, fused and quantised, bit for bit."""

import copy
import io

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.torch import nn  # noqa: E402

FP8 = torch.float8_e4m3fn
M, N, K = 7, 48, 200
UNSET = torch.finfo(torch.float32).min


def gaussian(*shape, seed=1, dtype=torch.bfloat16):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def stored(dtype, granularity, n=N, seed=2):
    """Codes [n, K] and scales of a Gaussian weight."""
    q = octavo.quantize(gaussian(n, K, seed=seed, dtype=torch.float32), dtype, granularity)
    return q.data, q.scale


def product(x, weight, scale, weight_granularity, bias, out_dtype, quantize):
    """The layer in two operations."""
    q = octavo.quantize(x.reshape(x.numel() // K, K), **quantize)
    y = octavo.scaled_mm(q, weight.t(), scale_b=scale.t(), granularity_b=weight_granularity, bias=bias,
                         out_dtype=out_dtype)
    return y.reshape(*x.shape[:-1], N)


INPUT_SCALE, ZERO_POINT = torch.tensor([0.021]), torch.tensor([-9], dtype=torch.int8)
# The layer's class, its options, and the quantiser that they mean.
KINDS = {
    "fp8, tokens": (nn.Fp8Linear, {}, {}),
    "fp8, one scale": (nn.Fp8Linear, {"activation": "tensor"}, {"granularity": "tensor"}),
    "fp8, static": (nn.Fp8Linear, {"input_scale": INPUT_SCALE},
                    {"granularity": "tensor", "scale": INPUT_SCALE}),
    "fp8, bounded": (nn.Fp8Linear, {"input_scale_ub": 1.5}, {"scale_ub": 1.5}),
    "int8, tokens": (nn.Int8Linear, {}, {}),
    "int8, static": (nn.Int8Linear, {"input_scale": INPUT_SCALE},
                     {"granularity": "tensor", "scale": INPUT_SCALE}),
    "int8, zero points": (nn.Int8Linear, {"azp": True}, {"azp": True}),
    "int8, one scale, zero points": (nn.Int8Linear, {"azp": True, "activation": "tensor"},
                                     {"azp": True, "granularity": "tensor"}),
    "int8, static zero point": (
        nn.Int8Linear, {"input_scale": INPUT_SCALE, "input_zero_point": ZERO_POINT},
        {"azp": True, "granularity": "tensor", "scale": INPUT_SCALE.reshape(1, 1),
         "azp_in": ZERO_POINT.int().reshape(1, 1)}),
    "blocks": (nn.BlockFp8Linear, {}, {"granularity": "group128"}),
}
DTYPES = {nn.Fp8Linear: FP8, nn.Int8Linear: torch.int8, nn.BlockFp8Linear: FP8}


def made(kind, bias=None, **more):
    layer, options, quantize = KINDS[kind]
    block = layer is nn.BlockFp8Linear
    weight, scale = stored(DTYPES[layer], "block128x128" if block else "token")
    return (layer.from_quantized(weight, scale, bias, **options, **more), weight, scale,
            "block128x128" if block else "channel", {"dtype": DTYPES[layer], **quantize})


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_a_quantizer_and_a_product(kind, dtype):
    bias = gaussian(N, seed=3)
    layer, weight, scale, granularity, quantize = made(kind, bias)
    for shape in ((M, K), (2, 3, K), (K,), (0, K)):
        x = gaussian(*shape, dtype=dtype)
        want = product(x, weight, scale, granularity, bias, dtype, quantize)
        assert torch.equal(layer(x), want)
    x = gaussian(K, M, dtype=dtype).t()
    assert torch.equal(layer(x), layer(x.contiguous()))


@pytest.mark.parametrize("kind", KINDS)
def test_activations_that_are_quantized_already(kind):
    layer, weight, scale, granularity, quantize = made(kind, gaussian(N, seed=3))
    x = gaussian(2, 3, K)
    q = octavo.quantize(x.reshape(-1, K), **quantize)
    one = q.scale.numel() == 1
    codes = q.data.reshape(2, 3, K)
    x_scale = q.scale if one else q.scale.reshape(2, 3, -1)
    assert torch.equal(layer(codes, x_scale, q.azp), layer(x))
    if "static" in kind:
        assert torch.equal(layer(codes), layer(x))
    else:
        with pytest.raises(ValueError, match="x_scale must come with quantised activations"):
            layer(codes)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_come_in_the_order_of_x(kind):
    """Of a layer whose state has columns in another order (GPTQ's act-order). Groups of x do not follow it."""
    layer, weight, scale, granularity, quantize = made(kind)
    layer.load_state_dict({**layer.state_dict(), "columns": torch.arange(K).flip(0)})
    x = gaussian(M, K)
    q = octavo.quantize(x, **quantize)
    assert torch.equal(layer(x), product(x.flip(-1), weight, scale, granularity, None, x.dtype, quantize))
    if q.scale.dim() and q.scale.shape[-1] > 1:
        with pytest.raises(ValueError, match="x_scale.shape must be one element or .* an order of its own; got"):
            layer(q.data, q.scale, q.azp)
    else:
        assert torch.equal(layer(q.data, q.scale, q.azp), layer(x))


@pytest.mark.parametrize("kind", KINDS)
def test_states_copies_and_pickles(kind):
    layer = made(kind, gaussian(N, seed=3))[0]
    x = gaussian(M, K)
    want = layer(x)
    assert torch.equal(copy.deepcopy(layer)(x), want)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), want)
    rule = KINDS[kind][1]
    if "input_scale_ub" in rule:  # not in a state: an option of the layer
        return
    options = {name: value for name, value in rule.items() if name in ("azp", "activation")}
    if "input_zero_point" in rule:
        options["azp"] = True
    fresh = type(layer)(K, N, dtype=torch.bfloat16, **options)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), want)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_layers(kind):
    torch._dynamo.reset()
    layer = made(kind)[0]
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for m in (M, 3):
        assert torch.equal(compiled(gaussian(m, K)), layer(gaussian(m, K)))
    q = octavo.quantize(gaussian(M, K), DTYPES[type(layer)], "token")
    assert torch.equal(compiled(q.data, q.scale), layer(q.data, q.scale))


# ---- fused layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("widths", [(16, 16, 16), (30, 0, 18), (0, 40, 8, 0), (48,)])
@pytest.mark.parametrize("layer", [nn.Fp8Linear, nn.Int8Linear])
def test_shards_keep_their_scales(layer, widths):
    shards = [stored(DTYPES[layer], "tensor", n, seed=n) for n in widths if n]
    weight = torch.cat([codes for codes, _ in shards])
    found = iter(scale for _, scale in shards)
    scales = torch.cat([next(found).reshape(1) if n else torch.tensor([UNSET]) for n in widths])
    fused = layer.from_quantized(weight, scales, logical_widths=widths)
    x = gaussian(M, K)
    assert torch.equal(fused(x), torch.cat([layer.from_quantized(*shard)(x) for shard in shards], 1))


def test_blocks_of_shards_begin_anew():
    widths = (200, 72, 128)
    shards = [stored(FP8, "block128x128", n, seed=n) for n in widths]
    weight, scales = (torch.cat(parts) for parts in zip(*shards))
    fused = nn.BlockFp8Linear.from_quantized(weight, scales, logical_widths=widths)
    x = gaussian(M, K)
    want = torch.cat([nn.BlockFp8Linear.from_quantized(*shard)(x) for shard in shards], 1)
    assert torch.equal(fused(x), want)
    assert fused.quantized_weight().scale.shape == (50, 2)  # 8 rows: what 200 and 272 have in common with 128
    fresh = nn.BlockFp8Linear(K, 400, bias=False, dtype=torch.bfloat16)
    fresh.load_state_dict(fused.state_dict())
    assert torch.equal(fresh(x), want)


def test_one_scale_for_all_on_request():
    weight = torch.cat([stored(FP8, "tensor", 24, seed)[0] for seed in (4, 5)])
    scales = torch.tensor([0.01, 0.02])
    layer = nn.Fp8Linear.from_quantized(weight, scales, logical_widths=(24, 24), requantize=True)
    q = layer.quantized_weight()
    assert (q.scale == 0.02).all() and torch.equal(q.data[24:].view(torch.int8), weight[24:].view(torch.int8))
    halves = (weight[:24].float() * 0.5).to(FP8)
    assert torch.equal(q.data[:24].float(), halves.float())


def test_a_fused_checkpoint_has_one_scale():
    weight, scale = stored(FP8, "tensor")
    x = gaussian(M, K)
    scales = torch.tensor([float(scale), UNSET, UNSET])
    layer = nn.Fp8Linear.from_quantized(weight, scales, logical_widths=(16, 16, 16))
    assert torch.equal(layer(x), nn.Fp8Linear.from_quantized(weight, scale)(x))
    with pytest.raises(ValueError, match="must be loaded"):
        nn.Fp8Linear.from_quantized(weight, torch.full((3,), UNSET), logical_widths=(16, 16, 16))


def test_static_scales_of_shards_become_one():
    weight, scale = stored(torch.int8, "token")
    x = gaussian(M, K)
    widths = (16, 16, 16)
    largest = nn.Int8Linear.from_quantized(weight, scale, input_scale=torch.tensor([0.02, 0.03, UNSET]),
                                           logical_widths=widths)
    assert torch.equal(largest(x), nn.Int8Linear.from_quantized(weight, scale, input_scale=torch.tensor(0.03))(x))
    # Ranges [-128 - z, 127 - z] * s: [-2.56, 2.54] with z = 0, [-0.28, 2.27] with z = -100.
    merged = nn.Int8Linear.from_quantized(weight, scale, input_scale=torch.tensor([0.02, 0.01]),
                                          input_zero_point=torch.tensor([0, -100], dtype=torch.int8), logical_widths=(24, 24))
    same = nn.Int8Linear.from_quantized(weight, scale, input_scale=torch.tensor(5.1 / 255),
                                        input_zero_point=torch.tensor([0], dtype=torch.int32))
    assert torch.equal(merged(x), same(x))


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic", "fp8-block"])
def test_layers_of_a_file(tmp_path, scheme):
    safetensors = pytest.importorskip("safetensors.torch")
    kind = {"int8-dynamic": nn.Int8Linear, "fp8-dynamic": nn.Fp8Linear, "fp8-block": nn.BlockFp8Linear}[scheme]
    floats = {f"{name}.weight": gaussian(n, K, seed=n, dtype=torch.float32)
              for name, n in (("query", 40), ("key", 30), ("value", 58))}
    safetensors.save_file(floats, tmp_path / "model.safetensors")
    octavo.quantize_file(tmp_path / "model.safetensors", tmp_path / "small.safetensors", scheme)
    file = octavo.open_checkpoint(tmp_path / "small.safetensors")
    weights = [file.weight(name) for name in ("query", "key", "value")]
    fused = kind.from_weight(octavo.checkpoints.fuse(weights), gaussian(128))
    x = gaussian(M, K)
    assert torch.equal(fused(x) , torch.cat([kind.from_weight(w, b)(x) for w, b in
                                             zip(weights, gaussian(128).split((40, 30, 58)))], 1))
    with pytest.raises(ValueError, match="weight.scheme must be"):
        (nn.Fp8Linear if kind is nn.Int8Linear else nn.Int8Linear).from_weight(weights[0])


# ---- batch invariance -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_batch_invariance(kind):
    layer = made(kind)[0]
    layer.batch_invariant = True
    x = gaussian(64, K)
    if "one scale" in kind:
        with pytest.raises(ValueError, match="batch_invariant must be false where rows of the batch share"):
            layer(x)
        return
    whole = layer(x)
    for m in (1, 2, 16, 63):
        assert torch.equal(layer(x[:m]), whole[:m])


def test_batch_invariance_of_other_layers():
    outliers = nn.LLMInt8Linear.from_float(torch.nn.Linear(K, N))
    outliers.batch_invariant = True
    x = gaussian(M, K, dtype=torch.float32)
    x[5, 7] = 40.0
    whole = outliers(x)
    for m in (1, 5, 6, M):  # outliers are elements then
        assert torch.equal(outliers(x[:m]), whole[:m])
    training = nn.Fp8Linear(K, N, activation="tensor")
    training.batch_invariant = True
    with pytest.raises(ValueError, match="batch_invariant must be False"):
        training(gaussian(M, K, dtype=torch.float32))
    with pytest.raises(NotImplementedError, match="azp must be False"):
        nn.Int8Linear(K, N, azp=True)(gaussian(M, K, dtype=torch.float32))
