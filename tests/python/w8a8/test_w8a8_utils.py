# SPDX-License-Identifier: Apache-2.0
"""octavo.w8a8_utils: values against float64 and octavo.scaled_mm. Names are in test_w8a8_names.py."""

import pytest

torch = pytest.importorskip("torch")

import torch._dynamo.testing  # noqa: E402

import octavo  # noqa: E402
import octavo.w8a8_utils as w8a8  # noqa: E402
from octavo.w8a8_utils import Fp8LinearOp, GroupShape, QuantFP8  # noqa: E402
from test_w8a8_names import FUNCTIONS  # noqa: E402

FP8 = torch.float8_e4m3fn
FNUZ = torch.float8_e4m3fnuz
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
TENSOR, TOKEN = GroupShape.PER_TENSOR, GroupShape.PER_TOKEN
LEAST = float(torch.tensor(1.0) / (448 * 512))


def gaussian(*shape, seed=1, dtype=F32, spread=1.0):
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread).to(dtype)


def uniform(*shape, seed=9):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 0.01 + 0.01


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    as_bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[a.element_size()]
    return torch.equal(a.contiguous().view(as_bits), b.contiguous().view(as_bits))


# ---- products -------------------------------------------------------------------------------------


def stored_weight(kind, n, k, dtype=FP8):
    """A weight [N, K] with its scale, as a checkpoint stores it."""
    shape = {"tensor": (1,), "channel": (n, 1), "block": (-(-n // 128), -(-k // 128))}[kind]
    return gaussian(n, k, seed=2, spread=40).to(dtype), uniform(*shape)


def wide(scale, rows, cols):
    """A scale [1], [rows, 1] or one for each group of columns or block, over the whole matrix, in float64."""
    scale = scale.double()
    if scale.numel() == 1:
        return scale.reshape(1, 1).expand(rows, cols)
    if scale.dim() == 1:
        scale = scale[:, None]
    down, across = 1 if scale.shape[0] == rows else 128, cols if scale.shape[1] == 1 else 128
    return scale.repeat_interleave(down, 0)[:rows].repeat_interleave(across, 1)[:, :cols]


def expect_right(y, codes, scale, weight, weight_scale, bias):
    """|y - exact| <= gamma (sum |a||b| + |bias|) + half an ulp, gamma of K + groups + 8 roundings."""
    k = codes.shape[1]
    a = codes.double() * wide(scale, *codes.shape)
    b = weight.double() * wide(weight_scale, *weight.shape)
    added = torch.zeros(()) if bias is None else bias.double()
    exact, magnitude = a @ b.t() + added, a.abs() @ b.abs().t() + added.abs()
    n = (k + -(-k // 128) + 8) * 2.0**-24
    half_ulp = exact.abs().clamp_min(torch.finfo(y.dtype).tiny) * torch.finfo(y.dtype).eps / 2
    assert ((y.double() - exact).abs() <= n / (1 - n) * magnitude + half_ulp).all()


GRANULARITY = {TENSOR: "tensor", TOKEN: "token", GroupShape(1, 128): "group128"}


def expected(x, op, scale, weight, weight_scale, out_dtype, bias):
    """octavo.quantize and octavo.scaled_mm, and the codes and scales between them."""
    granularity = GRANULARITY[op.act_quant_group_shape]
    least = float(torch.tensor(1e-10) / 448) if granularity == "group128" else LEAST
    given = {} if scale is None else {"scale": scale}
    q = octavo.quantize(x, FP8, granularity, min_scale=least, **given)
    if weight_scale.numel() == 1:
        reading = "tensor"
    elif weight_scale.shape == (weight.shape[0], 1):
        reading = "channel"
    else:
        reading, weight_scale = "block128x128", weight_scale.t()
    y = octavo.scaled_mm(q, weight.t(), octavo.UNDEFINED, weight_scale, bias, out_dtype=out_dtype,
                         granularity_b=reading)
    return y, q


@pytest.mark.parametrize("kind", ["tensor", "channel", "block"])
@pytest.mark.parametrize("shape", GRANULARITY, ids=GRANULARITY.get)
@pytest.mark.parametrize("static", [False, True])
def test_apply_of_every_granularity_rank_and_size(static, shape, kind):
    weight, weight_scale = stored_weight(kind, 150, 200)
    op = Fp8LinearOp(static, shape)
    biases = {None: None, BF16: gaussian(150, seed=4, dtype=BF16), F32: gaussian(150, seed=4)}
    for m in (0, 1, 7, 16, 17, 64):
        for leading in {1: [(), (1,), (1, 1)], 64: [(64,), (4, 16)]}.get(m, [(m,), (1, m)]):
            for dtype, out_dtype, bias in ((BF16, None, None), (F32, F16, BF16), (F16, F32, F32)):
                x = gaussian(m, 200, dtype=dtype)
                groups = {"tensor": (), "token": (m, 1), "group128": (m, 2)}[GRANULARITY[shape]]
                scale = uniform(*groups, seed=5) if static else None
                y = op.apply(x.reshape(*leading, 200), weight.t(), weight_scale, out_dtype, scale, None, biases[bias])
                assert y.shape == (*leading, 150) and y.dtype == (out_dtype or dtype)
                y = y.reshape(m, 150)
                wanted, q = expected(x, op, scale, weight, weight_scale, y.dtype, biases[bias])
                assert same(y, wanted)
                expect_right(y, q.data, q.scale, weight, weight_scale, biases[bias])


def test_sizes_that_are_multiples_of_nothing():
    for n, k in ((1, 1), (3, 5), (17, 33), (129, 1), (2, 257), (5, 0)):
        for kind in ("tensor", "channel", "block"):
            weight, weight_scale = stored_weight(kind, n, k)
            for shape in GRANULARITY:
                op = Fp8LinearOp(False, shape)
                x, bias = gaussian(2, 3, k), gaussian(n, seed=4)
                y = op.apply(x, weight.t(), weight_scale, bias=bias).reshape(6, n)
                wanted, q = expected(x.reshape(6, k), op, None, weight, weight_scale, F32, bias)
                assert same(y, wanted)
                expect_right(y, q.data, q.scale, weight, weight_scale, bias)


def test_a_row_alone_has_the_bits_that_it_has_in_a_batch():
    x = gaussian(40, 300)
    for kind in ("tensor", "channel", "block"):
        weight, weight_scale = stored_weight(kind, 140, 300)
        for shape in (TOKEN, GroupShape(1, 128)):
            op = Fp8LinearOp(False, shape, batch_invariant=True)
            assert same(op.apply(x[20:21], weight.t(), weight_scale), op.apply(x, weight.t(), weight_scale)[20:21])
            short = weight[:, :100]  # one group, whose scales look like those of tokens, or of a tensor
            scale = weight_scale if kind != "block" else weight_scale[:, :1]
            assert same(op.apply(x[20:21, :100], short.t(), scale), op.apply(x[:, :100], short.t(), scale)[20:21])


def test_memory_of_any_layout():
    x, bias = gaussian(3, 4, 70, dtype=BF16), gaussian(9, seed=3)
    weight, weight_scale = stored_weight("channel", 9, 70)
    for op in (Fp8LinearOp(False, TOKEN), Fp8LinearOp(False), Fp8LinearOp(True)):
        scale = torch.tensor(0.02) if op.act_quant_static else None
        wanted = op.apply(x, weight.t(), weight_scale, F32, scale, None, bias)
        apart = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
        rows = gaussian(3, 4, 140, dtype=BF16)
        rows[..., ::2] = x
        for given in (apart, rows[..., ::2]):
            for w in (weight.t(), weight.t().contiguous(), gaussian(9, 80).to(FP8)[:, :70].copy_(weight).t()):
                scales = torch.stack([weight_scale, weight_scale], 1)[:, 0]
                assert same(op.apply(given, w, scales, F32, scale, None, torch.stack([bias, bias], 1)[:, 1]), wanted)


@pytest.mark.parametrize("dtype", [FP8, FNUZ, torch.float8_e5m2, torch.float8_e5m2fnuz])
def test_input_that_is_quantized_already(dtype):
    weight, weight_scale = stored_weight("channel", 12, 200, torch.float8_e5m2)
    for m in (1, 6):
        x = gaussian(m, 200, spread=20).to(dtype)
        for scale_shape in ((), (1,), (1, 1), (m,), (m, 1), (m, 2)):
            scale = uniform(*scale_shape)
            y = Fp8LinearOp(False).apply(x[:, None], weight.t(), weight_scale, input_scale=scale)
            assert y.dtype == BF16 and y.shape == (m, 1, 12)
            expect_right(y[:, 0], x, scale, weight, weight_scale, None)
    assert Fp8LinearOp(True).apply(x, weight.t(), weight_scale, F32, scale).dtype == F32


def test_upper_bounds():
    weight, weight_scale = stored_weight("channel", 12, 40)
    x, bound = gaussian(5, 40, spread=3), torch.tensor([1.5])
    for shape in GRANULARITY:
        op = Fp8LinearOp(False, shape, pad_output=False)
        codes, scale = op.quant_fp8(x, scale_ub=bound)
        assert float(scale.max()) == float(torch.tensor(1.5) / 448) and codes.float().abs().max() == 448
        y = op.apply(x, weight.t(), weight_scale, input_scale_ub=bound)
        expect_right(y, codes, scale, weight, weight_scale, None)


def test_padding_changes_nothing():
    weight, weight_scale = stored_weight("channel", 10, 48)
    bias = gaussian(10, seed=4)
    for shape in (TENSOR, TOKEN, GroupShape(1, 16)):
        for m in (0, 1, 16, 17, 18):
            x = gaussian(m, 48)
            plain, padded = QuantFP8(False, shape), QuantFP8(False, shape, num_token_padding=17)
            codes, scale = plain(x)
            more_codes, more_scale = padded(x)
            assert more_codes.shape == (max(m, 17), 48) and same(more_codes[:m], codes)
            assert not more_codes[m:].view(torch.uint8).any()
            assert more_scale.shape == (scale.shape if shape == TENSOR else (max(m, 17), *scale.shape[1:]))
            assert same(more_scale[:m] if shape != TENSOR else more_scale, scale)
            for name in FUNCTIONS:
                given = dict(weight=weight.t(), out_dtype=F32, scale_b=weight_scale, bias=bias, input_2d=x,
                             output_shape=[m, 10], group_size=16)
                y = getattr(w8a8, name)(qinput=codes, scale_a=scale, **given)
                assert same(getattr(w8a8, name)(qinput=more_codes, scale_a=more_scale, **given), y), name
            wanted = Fp8LinearOp(False, shape, pad_output=False).apply(x, weight.t(), weight_scale, bias=bias)
            assert same(Fp8LinearOp(False, shape, pad_output=True).apply(x, weight.t(), weight_scale, bias=bias), wanted)
            assert same(wanted, y)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_takes_every_granularity(name):
    codes, bias = gaussian(6, 200, spread=20).to(FP8), gaussian(140, seed=4, dtype=F16)
    for kind in ("tensor", "channel", "block"):
        weight, weight_scale = stored_weight(kind, 140, 200)
        for scale_shape in ((), (1,), (6,), (6, 1), (6, 2)):
            scale = uniform(*scale_shape, seed=3)
            given = {} if name.startswith(("cutlass", "flashinfer")) else {"input_2d": codes}
            y = getattr(w8a8, name)(qinput=codes, weight=weight.t(), out_dtype=F16, scale_a=scale,
                                    scale_b=weight_scale, bias=bias, output_shape=[2, 3, 140], **given)
            assert y.shape == (2, 3, 140)
            expect_right(y.view(6, 140), codes, scale, weight, weight_scale, bias)


def test_packed_weights():
    weight, weight_scale = stored_weight("channel", 30, 64)
    x, bias = gaussian(2, 5, 64, dtype=BF16), gaussian(30, seed=3)
    packed = octavo.pack(weight.t(), scale=weight_scale, granularity="channel")
    for shape in GRANULARITY:
        op = Fp8LinearOp(False, shape)
        wanted = op.apply(x, weight.t(), weight_scale, bias=bias)
        assert same(op.apply(x, packed, None, bias=bias), wanted)
        assert same(op.apply(x, packed, weight_scale, bias=bias), wanted)


def test_gradients_reach_scales_and_bias():
    weight, weight_scale = stored_weight("channel", 10, 48)
    bias, weight_scale = gaussian(10).requires_grad_(), weight_scale.requires_grad_()
    y = Fp8LinearOp(False, TOKEN).apply(gaussian(3, 48), weight.t(), weight_scale, bias=bias)
    y.sum().backward()
    assert same(bias.grad, torch.full((10,), 3.0)) and weight_scale.grad.shape == (10, 1)


def test_attributes_of_the_operation():
    op = Fp8LinearOp(True)
    assert (op.preferred_backend, op.output_padding) == ("torch", 17)
    assert (op.act_quant_static, op.act_quant_group_shape) == (True, TENSOR)
    assert isinstance(op.quant_fp8, QuantFP8) and op.quant_fp8.num_token_padding == 17
    assert Fp8LinearOp(False, TOKEN, False).output_padding is None
    assert Fp8LinearOp(False, pad_output=True, force_fp8_e4m3fnuz=True).quant_fp8.dtype == FNUZ


# ---- quantisers -----------------------------------------------------------------------------------


def test_scales_of_zeros_and_of_rows_that_are_not_finite():
    for shape in (TENSOR, TOKEN):
        codes, scale = QuantFP8(False, shape)(torch.zeros(2, 8))
        assert (scale == LEAST).all() and not codes.view(torch.uint8).any()
    x = torch.tensor([[1.0, torch.nan, -2.0, torch.inf]])
    codes, scale = QuantFP8(False, TOKEN)(x)
    assert scale.item() == float(torch.tensor(2.0) / 448)
    assert torch.equal(codes.float().nan_to_num(-1), torch.tensor([[224.0, -1.0, -448.0, -1.0]]))


def test_fnuz_keeps_to_224():
    quantize = QuantFP8(False, TOKEN, dtype=FNUZ)
    x = torch.tensor([[3.0, -7.0, 1.0, torch.nan, torch.inf]])
    codes, scale = quantize(x)
    assert scale.item() == 7 / 224 and codes.float()[0, 1] == -224 and codes.float()[0, 3:].isnan().all()
    codes, scale = quantize(x, scale_ub=torch.tensor(2.0))
    assert scale.item() == float(torch.tensor(2.0) / 224) and codes.float()[0, :2].tolist() == [224, -224]
    codes, _ = QuantFP8(True, TENSOR, dtype=FNUZ)(x, torch.tensor(0.01))
    assert codes.float()[0, :3].tolist() == [224, -224, 96]
    weight, weight_scale = stored_weight("channel", 10, 48, FNUZ)
    op, x = Fp8LinearOp(False, TOKEN, force_fp8_e4m3fnuz=True), gaussian(3, 48)
    codes, scale = op.quant_fp8(x)
    expect_right(op.apply(x, weight.t(), weight_scale), codes[:3], scale[:3], weight, weight_scale, None)


def test_the_rule_is_octavos_with_options():
    x = gaussian(4, 256, spread=1e-4)
    for dtype, qmax in ((FP8, 448.0), (FNUZ, 224.0), (torch.float8_e5m2, 57344.0), (torch.float8_e5m2fnuz, 57344.0)):
        for shape, granularity in GRANULARITY.items():
            least = torch.tensor(1e-10) / qmax if granularity == "group128" else torch.tensor(1.0) / (qmax * 512)
            options = dict(min_scale=least.item(), qmax=qmax)
            codes, scale = QuantFP8(False, shape, dtype=dtype)(x)
            wanted = octavo.quantize(x, dtype, granularity, **options)
            assert same(codes, wanted.data) and same(scale.reshape(wanted.scale.shape), wanted.scale)
            assert same(octavo.quantizers.compute_scale(x, dtype, granularity, **options).scale, wanted.scale)


def test_static_scales_come_back_as_given():
    x = gaussian(3, 256)
    for shape, scale in ((TENSOR, torch.tensor(0.5)), (TOKEN, torch.tensor([0.5])), (TOKEN, uniform(3, 1)),
                         (GroupShape(1, 128), uniform(3, 2))):
        codes, given = QuantFP8(True, shape)(x, scale)
        assert given is scale
        assert torch.equal((codes.double() * wide(scale, 3, 256)).float(), octavo.dequantize(octavo.quantize(
            x, FP8, "tensor" if scale.numel() == 1 else GRANULARITY[shape], scale=scale)))


# ---- helpers --------------------------------------------------------------------------------------

UNSET = torch.finfo(F32).min


def test_convert_to_channelwise():
    scale = torch.tensor([0.5, UNSET, 2.0])
    assert same(w8a8.convert_to_channelwise(scale, [2, 0, 1]), torch.tensor([[0.5], [0.5], [2.0]]))
    assert w8a8.convert_to_channelwise(torch.tensor(0.5, requires_grad=True), [1, 1]).tolist() == [[0.5], [0.5]]


def test_requantize_with_max_scale():
    weight = gaussian(30, 64, spread=50).to(FP8)
    before = weight.clone()
    scale, moved = w8a8.requantize_with_max_scale(weight, torch.tensor([0.3, 0.7, UNSET]), [10, 20, 0])
    assert scale.dim() == 0 and scale == torch.tensor(0.7) and same(weight, before) and moved.dtype == FP8
    assert same(moved[10:], weight[10:])
    assert same(moved[:10], (weight[:10].float() * torch.tensor(0.3) / torch.tensor(0.7)).to(FP8))
    fused, kept = w8a8.requantize_with_max_scale(weight, torch.tensor([0.3, UNSET, UNSET]), [10, 10, 10])
    assert fused == torch.tensor(0.3) and same(kept, weight)
    parameter = torch.nn.Parameter(weight, requires_grad=False)
    _, same_tensor = w8a8.requantize_with_max_scale(parameter, torch.tensor([0.3, 0.7]), [10, 20], in_place=True)
    assert same_tensor is parameter and same(weight, moved)


def test_per_tensor_dequantize():
    codes = torch.tensor([448.0, -1.0, 2.0**-9]).to(FP8)
    wanted = torch.tensor([44800.0, -100.0, 100 * 2.0**-9]).to(F16)
    for scale in (100.0, 100, torch.tensor(100.0), torch.tensor([100.0]), torch.nn.Parameter(torch.tensor(100.0))):
        assert same(w8a8.per_tensor_dequantize(codes, scale), wanted)
    assert w8a8.per_tensor_dequantize(torch.zeros(2, 3, 4, dtype=torch.int8).transpose(0, 2), 1.0).shape == (4, 3, 2)


def test_all_close_1d_is_torchs():
    cases = [[], [1.0], [1.0, 1.000009], [1.0, 1.00002], [0.0, 1e-8], [0.0, 2e-8], [1.0, torch.nan], [torch.nan],
             [torch.inf, torch.inf], [torch.inf, -torch.inf], [3e38, -3e38]]
    for case in map(torch.tensor, cases):
        assert w8a8.all_close_1d(case) is all(torch.allclose(case[0], x) for x in case)


def test_normalize_e4m3fn_to_e4m3fnuz():
    weight = torch.arange(256, dtype=torch.uint8).view(FP8).view(16, 16)
    moved, weight_scale, input_scale = w8a8.normalize_e4m3fn_to_e4m3fnuz(weight, torch.tensor(0.5), torch.tensor([3.0]))
    assert moved.dtype == FNUZ and same(weight_scale, torch.tensor(1.0)) and same(input_scale, torch.tensor([6.0]))
    assert torch.equal((moved.float() * weight_scale).nan_to_num(1e9), (weight.float() * 0.5).nan_to_num(1e9))
    assert w8a8.normalize_e4m3fn_to_e4m3fnuz(weight, torch.ones(2, 1))[2] is None


# ---- torch.compile and operators ------------------------------------------------------------------


@pytest.mark.parametrize("shape", GRANULARITY, ids=GRANULARITY.get)
@pytest.mark.parametrize("static", [False, True])
def test_one_graph_for_any_number_of_rows(static, shape):
    weight, weight_scale = stored_weight("channel", 20, 256)
    bias, scale, bound = gaussian(20), torch.tensor(0.02) if static else None, None if static else torch.tensor([2.0])
    op = Fp8LinearOp(static, shape)

    def product(x):
        return op.apply(x, weight.t(), weight_scale, None, scale, bound, bias)

    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(product, fullgraph=True, dynamic=True, backend=counter)
    for m in (5, 7, 40):
        x = gaussian(2, m, 256)
        assert same(compiled(x), product(x))
    assert counter.frame_count == 1


def test_a_compiled_operation_is_made_without_padding():
    torch._dynamo.reset()
    made = []

    @torch.compile(backend="eager")
    def make(x):
        made.append(Fp8LinearOp(False).output_padding)
        return x + 1

    make(torch.ones(1))
    assert made in ([None], [17])  # 17 where the graph breaks before it


def checked(operator, *arguments):
    torch.library.opcheck(operator, arguments, test_utils=("test_autograd_registration", "test_faketensor",
                                                           "test_aot_dispatch_dynamic"))


def test_opcheck():
    weight, weight_scale = stored_weight("channel", 20, 48)
    x = gaussian(3, 48)
    checked(torch.ops.octavo.quantize.default, x, None, FP8, "token", torch.tensor(2.0), 1e-5, 100.0)
    checked(torch.ops.octavo.quantize.default, x, torch.tensor(0.5), FP8, "tensor")
    codes, scale = QuantFP8(False, TOKEN)(x)
    operator = torch.ops.octavo.rocm_per_tensor_w8a8_scaled_mm_impl.default
    for w_scale in (weight_scale, torch.tensor([0.5])):
        checked(operator, codes, weight.t(), F32, scale.clone().requires_grad_(), w_scale.clone().requires_grad_(),
                gaussian(20).requires_grad_(), x)
    checked(operator, codes, weight.t(), BF16, scale, weight_scale, None, x)


def test_the_operator_is_the_function_with_its_padding():
    weight, weight_scale = stored_weight("tensor", 20, 48)
    x, bias = gaussian(3, 48), gaussian(20).requires_grad_()
    codes, scale = QuantFP8(False, TENSOR, 17)(x)
    whole = w8a8.rocm_per_tensor_w8a8_scaled_mm_impl(codes, weight.t(), F32, scale, weight_scale, bias, x)
    fake = w8a8.rocm_per_tensor_w8a8_scaled_mm_fake(codes, weight.t(), F32, scale, weight_scale, bias, x)
    assert whole.shape == fake.shape == (17, 20) and whole.dtype == fake.dtype
    assert torch.equal(whole[16], bias)  # a row of zeros
    assert same(whole[:3], w8a8.rocm_per_tensor_w8a8_scaled_mm(
        qinput=codes, weight=weight.t(), out_dtype=F32, scale_a=scale, scale_b=weight_scale, bias=bias, input_2d=x,
        output_shape=[3, 20]))
    whole.sum().backward()
    assert torch.equal(bias.grad, torch.full((20,), 17.0))


def test_gradients_of_the_operator_are_those_of_scaled_mm():
    codes = gaussian(5, 200, spread=20).to(FP8)
    for kind in ("tensor", "channel", "block"):
        weight, weight_scale = stored_weight(kind, 150, 200)
        found = []
        for operator in (True, False):
            scales = [uniform(5, 1, seed=3).requires_grad_(), weight_scale.clone().requires_grad_()]
            if operator:
                y = w8a8.rocm_per_tensor_w8a8_scaled_mm_impl(codes, weight.t(), F32, *scales, None, codes)
            else:
                y = w8a8.cutlass_w8a8_scaled_mm(qinput=codes, weight=weight.t(), out_dtype=F32, scale_a=scales[0],
                                                scale_b=scales[1], bias=None, output_shape=[5, 150])
            y.backward(gaussian(5, 150, seed=8))
            found.append([scale.grad for scale in scales])
        assert all(same(a, b) for a, b in zip(*found))


# ---- errors ---------------------------------------------------------------------------------------

X, W, ONE = gaussian(4, 6), gaussian(6, 3).to(FP8), torch.ones(1)


def product_with(**changes):
    given = dict(qinput=X.to(FP8), weight=W, out_dtype=F32, scale_a=ONE, scale_b=ONE, bias=None, output_shape=[4, 3])
    return w8a8.cutlass_w8a8_scaled_mm(**(given | changes))


ERRORS = [
    (lambda: QuantFP8(False, GroupShape(2, 128)),
     "QuantFP8: group_shape must be PER_TENSOR, PER_TOKEN or (1, columns); got (2, 128)"),
    (lambda: QuantFP8(False, TOKEN, dtype=torch.int8), "QuantFP8: dtype must be a float8 type; got torch.int8"),
    (lambda: QuantFP8(True, TENSOR)(X), "QuantFP8: scale must be given where quantisation is static; got none"),
    (lambda: QuantFP8(False, TENSOR)(X, ONE),
     "QuantFP8: scale must be undefined where quantisation is dynamic; got [1]"),
    (lambda: QuantFP8(False, TENSOR)(X, None, torch.ones(2)), "QuantFP8: scale_ub must have one element; got [2]"),
    (lambda: QuantFP8(False, TENSOR)(X, None, -ONE), "quantize: scale_ub must be positive; got -1"),
    (lambda: QuantFP8(False, TENSOR)(X[0]), "QuantFP8: x.shape must be 2-D; got [6]"),
    (lambda: QuantFP8(True, TENSOR)(X, torch.ones(4)), "quantize: scale.shape must be one element; got [4]"),
    (lambda: Fp8LinearOp(False, batch_invariant=True),
     "Fp8LinearOp: batch_invariant must come without dynamic per-tensor activations (their scale is made of all "
     "rows); got both"),
    (lambda: Fp8LinearOp(False).apply(X.to(torch.int8), W, ONE),
     "Fp8LinearOp.apply: input must be [..., K] of float32, bfloat16, float16 or a float8 type; got torch.int8 [4, 6]"),
    (lambda: Fp8LinearOp(False).apply(X.to(FP8), W, ONE),
     "Fp8LinearOp.apply: input_scale must be given with input that is fp8 already; got none for torch.float8_e4m3fn "
     "[4, 6]"),
    (lambda: Fp8LinearOp(False).apply(X, W, ONE, None, ONE),
     "Fp8LinearOp.apply: input_scale must be undefined where quantisation is dynamic; got [1]"),
    (lambda: Fp8LinearOp(True).apply(X, W, ONE),
     "Fp8LinearOp.apply: input_scale must be given where quantisation is static; got none"),
    (lambda: Fp8LinearOp(False).apply(X, W.t(), ONE),
     "torch_per_tensor_w8a8_scaled_mm: weight must be [K, N] with K = 6 (a stored weight [N, K] transposed); got "
     "K = 3"),
    (lambda: product_with(qinput=X), "cutlass_w8a8_scaled_mm: qinput must be 2-D of int8 or a float8 type; got torch.float32 "
     "[4, 6]"),
    (lambda: product_with(weight=W.float()),
     "cutlass_w8a8_scaled_mm: weight must be 2-D of int8 or a float8 type; got torch.float32 [6, 3]"),
    (lambda: product_with(scale_a=None), "cutlass_w8a8_scaled_mm: scale_a must be given; got none"),
    (lambda: product_with(scale_b=None), "cutlass_w8a8_scaled_mm: scale_b must be given; got none"),
    (lambda: product_with(scale_a=torch.ones(3)),
     "cutlass_w8a8_scaled_mm: scale_a.shape must be one element, [4], [4, 1] or, for groups of 128, [4, 1]; got [3]"),
    (lambda: product_with(scale_b=torch.ones(2, 3)),
     "cutlass_w8a8_scaled_mm: scale_b.shape must be one element, [3], [3, 1], [1, 3] or, for blocks of 128 x 128, "
     "[1, 1]; got [2, 3]"),
    (lambda: product_with(group_size=-1), "cutlass_w8a8_scaled_mm: group_size must be at least 0; got -1"),
    (lambda: product_with(input_2d=torch.ones(5, 6)),
     "cutlass_w8a8_scaled_mm: qinput.shape[0] must be at least the 5 rows asked for; got 4"),
    (lambda: w8a8.requantize_with_max_scale(W, torch.tensor([1.0, UNSET, 2.0]), [2, 2, 2]),
     "requantize_with_max_scale: weight_scale[1] must be loaded, finite and at least 0 (or be the only one loaded); "
     "got none loaded"),
    (lambda: w8a8.all_close_1d(X), "all_close_1d: x.shape must be 1-D; got [4, 6]"),
]


@pytest.mark.parametrize("call, sentence", ERRORS, ids=[sentence[:48] for _, sentence in ERRORS])
def test_errors(call, sentence):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == sentence
