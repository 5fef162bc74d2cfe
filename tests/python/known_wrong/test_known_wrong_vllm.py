# SPDX-License-Identifier: Apache-2.0
"""What vLLM's W8A8 layers get wrong, beside octavo.w8a8_utils.

vLLM does not run on this machine: its half is the arithmetic of its kernels and helpers (August 2025), a
few lines of torch each. Octavo's half is asserted against float64.
"""

import math

import pytest

torch = pytest.importorskip("torch", minversion="2.10")

import octavo  # noqa: E402
import octavo.w8a8_utils as w8a8  # noqa: E402
from known_wrong import BF16, F32, FP8, ONE, Found, code, corner, defect, exact, full, number, refusal  # noqa: E402
from known_wrong import small  # noqa: E402

FNUZ = torch.float8_e4m3fnuz
UNSET = torch.finfo(F32).min
PER_TENSOR, PER_TOKEN = w8a8.GroupShape.PER_TENSOR, w8a8.GroupShape.PER_TOKEN


def kernel_to_fp8(x):
    """The conversion of vLLM's CUDA kernels: a clamp by fmin and fmax, then rounding."""
    return x.fmin(torch.tensor(448.0)).fmax(torch.tensor(-448.0)).to(FP8)


def functions():
    names = ("cutlass", "flashinfer", "rocm_per_tensor", "torch_per_tensor", "torch_per_token", "torch_channelwise")
    return [getattr(w8a8, f"{name}_w8a8_scaled_mm") for name in names]


# ---- products -------------------------------------------------------------------------------------


@defect("vllm_products", "the bias is dropped for one row (ROCm's kernel for few rows): 16 products of 1, bias 1",
        "vllm#24895 vllm#24988")
def test_the_bias_of_one_row_is_dropped():
    a, b, bias = full(1, 16, 1), full(16, 16, 1), torch.ones(16)
    for function in functions():
        mine = function(qinput=a, weight=b, out_dtype=F32, scale_a=ONE, scale_b=ONE, bias=bias, input_2d=a,
                        output_shape=[1, 16])
        assert torch.equal(mine.double(), exact(a, b) + 1)
    theirs = a.float() @ b.float()  # wvSplitKQ had no argument for one
    return Found(not torch.equal(theirs, mine), number(theirs), number(mine))


@defect("vllm_products", "the bias is added after rounding (Triton and FlashInfer): 257 products of 1, bias 0.5, bfloat16")
def test_the_bias_is_added_after_rounding():
    a, b, bias = full(1, 257, 1), full(257, 1, 1), torch.full((1,), 0.5)
    mine = w8a8.Fp8LinearOp(True).apply(a.float(), b, ONE, BF16, ONE, None, bias)
    assert torch.equal(mine, (exact(a, b) + 0.5).to(BF16))
    theirs = (a.float() @ b.float()).to(BF16) + bias.to(BF16)
    return Found(not torch.equal(theirs, mine), number(theirs), number(mine))


@defect("vllm_products", "the result keeps two dimensions (FlashInfer): input of [2, 3, 16]")
def test_the_result_is_not_reshaped():
    a, b = small(2, 3, 16), small(8, 16, seed=2).t()
    for function in functions():
        mine = function(qinput=a.view(6, 16), weight=b, out_dtype=F32, scale_a=ONE, scale_b=ONE, bias=None,
                        input_2d=a.view(6, 16), output_shape=[2, 3, 8])
        assert torch.equal(mine.double(), a.double() @ b.double())
    theirs = a.view(6, 16).float() @ b.float()
    return Found(theirs.shape != mine.shape, code(list(theirs.shape)), code(list(mine.shape)))


@defect("vllm_products", "a scale per tensor of the activations with scales per channel of the weight (without CUTLASS)")
def test_a_tensor_scale_with_channel_scales():
    x, w, scales = small(4, 16, dtype=F32), small(8, 16, seed=2), 2.0 ** small(8, 1, seed=3, dtype=F32)
    mine = w8a8.Fp8LinearOp(True).apply(x, w.t(), scales, input_scale=ONE)
    assert torch.equal(mine.double(), exact(x, w.t()) * scales.t())
    theirs = refusal(lambda: torch.narrow(torch.ones(1), 0, 0, x.shape[0]))  # of scale_a, to undo padding
    return Found(theirs is not None, str(theirs), "right")


@defect("vllm_products", "fp8 activations get an fp8 result: 1000 products of 1")
def test_fp8_activations_get_an_fp8_result():
    a, b = full(1, 1000, 1), full(1000, 1, 1)
    mine = w8a8.Fp8LinearOp(True).apply(a, b, ONE, input_scale=ONE)
    assert mine.dtype == BF16 and torch.equal(mine.double(), exact(a, b))
    theirs = kernel_to_fp8(a.float() @ b.float())
    return Found(corner(theirs) != corner(mine), f"{number(theirs)}, {theirs.dtype}", f"{number(mine)}, {mine.dtype}")


@defect("vllm_products", "fp8 activations without a scale")
def test_fp8_activations_without_a_scale():
    mine = refusal(lambda: w8a8.Fp8LinearOp(True).apply(small(4, 16), small(16, 8), ONE))
    assert mine.startswith("`ValueError: Fp8LinearOp.apply: input_scale must be given")
    x_scale = None
    theirs = refusal(lambda: x_scale.numel() == 1)
    return Found(True, theirs, mine)


@defect("vllm_products", "activations that are no view of a matrix; K = 0")
def test_activations_that_are_no_view():
    x, w = small(3, 4, 16, dtype=F32).transpose(0, 1), small(16, 8, seed=2)
    mine = w8a8.Fp8LinearOp(True).apply(x, w, ONE, input_scale=ONE)
    assert torch.equal(mine.double(), x.double() @ w.double())
    assert torch.equal(w8a8.Fp8LinearOp(False).apply(torch.ones(3, 0), w[:0], ONE), torch.zeros(3, 8))
    theirs = [refusal(lambda: y.view(-1, y.shape[-1])) for y in (x, torch.ones(3, 0))]
    return Found(all(theirs), "; ".join(sentence.split(" (")[0].split(":")[0] + "`" for sentence in theirs), "right")


# ---- quantisers -----------------------------------------------------------------------------------


@defect("vllm_quantisers", "NaN becomes the largest code")
def test_nan_becomes_the_largest_code():
    x = torch.tensor([[1.0, torch.nan]])
    for shape in (PER_TENSOR, PER_TOKEN):
        mine = w8a8.QuantFP8(False, shape, dtype=FP8)(x)[0].float()
        assert torch.equal(mine.isnan(), x.isnan())
    theirs = kernel_to_fp8(x * (1 / (torch.tensor(1.0) / 448))).float()
    return Found(not theirs[0, 1].isnan(), code(theirs[0].tolist()), code(mine[0].tolist()))


@defect("vllm_quantisers", "zeros, per tensor: the scale is 0 (no least scale there) and the codes are 0 / 0")
def test_zeros_get_a_scale_of_zero():
    x = torch.zeros(1, 2)
    codes, scale = w8a8.QuantFP8(False, PER_TENSOR)(x)
    assert scale == torch.tensor(1.0) / (448 * 512) and not codes.float().any()
    their_scale = x.abs().max() / 448
    theirs = kernel_to_fp8(x * (1 / their_scale))
    return Found(bool(their_scale == 0), f"scale `{their_scale.item():g}`, codes {code(theirs.float()[0].tolist())}",
                 f"scale `1 / (448 * 512)`, codes {code(codes.float()[0].tolist())}")


@defect("vllm_quantisers", "one infinity makes the whole row's scale infinite: [1, -3, inf], dequantised")
def test_one_infinity_in_a_row():
    x = torch.tensor([[1.0, -3.0, torch.inf]])
    codes, scale = w8a8.QuantFP8(False, PER_TOKEN)(x)
    mine = codes.float() * scale
    assert ((mine - x).abs()[0, :2] <= x.abs()[0, :2] * 2.0**-4).all() and mine[0, 2].isnan()
    their_scale = x.abs().max() / 448
    theirs = kernel_to_fp8(x / their_scale).float() * their_scale
    return Found(not torch.equal(theirs[0, :2], mine[0, :2]), code([round(v, 3) for v in theirs[0].tolist()]),
                 code([round(v, 3) for v in mine[0].tolist()]))


@defect("vllm_quantisers", "codes by a reciprocal in one kernel and by a quotient in another: how many of 99904 differ",
        "vllm#25094")
def test_reciprocals_and_quotients():
    x = torch.arange(1.0, 449.0) * torch.arange(1.0, 224.0)[:, None] / 64
    scale = x.amax(1, keepdim=True) / 448
    mine, found = w8a8.QuantFP8(False, PER_TOKEN)(x)
    assert torch.equal(found, scale) and torch.equal(mine.float(), (x.double() / scale.double()).float().to(FP8).float())
    theirs = kernel_to_fp8(x * (1 / scale))
    differ = int((theirs.float() != mine.float()).sum())
    return Found(differ > 0, code(differ), "`0`: the quotient everywhere")


@defect("vllm_quantisers", "int8 groups are truncated: [127, 2.9, -2.9]")
def test_int8_groups_are_truncated():
    x = torch.tensor([[127.0, 2.9, -2.9]])
    mine = octavo.quantize(x, "int8", "group3").data
    assert torch.equal(mine, x.round().to(torch.int8))
    theirs = (x / (x.abs().max() / 127)).to(torch.int8)
    return Found(not torch.equal(theirs, mine), code(theirs[0].tolist()), code(mine[0].tolist()))


@defect("vllm_quantisers", "a constant row with zero points has a range of 0 and is lost: [5, 5], dequantised")
def test_a_constant_row_with_zero_points():
    x = torch.full((1, 2), 5.0)
    mine = octavo.dequantize(octavo.quantize(x, "int8", azp=True))
    assert torch.equal(mine, x)
    scale = (x.max() - x.min()) / 255
    zero_point = torch.tensor(-128.0)  # the range's low end over 0 is infinite, and saturates
    theirs = (torch.full_like(x, -128.0) - zero_point) * scale
    return Found(not torch.equal(theirs, x), code(theirs[0].tolist()), code(mine[0].tolist()))


@defect("vllm_quantisers", "zero points of merged shards are truncated on CUDA and rounded on the CPU: [-1, 1.7]")
def test_zero_points_are_truncated():
    x = torch.tensor([[-1.0, 1.7]])
    q = octavo.quantize(x, "int8", azp=True)
    assert q.azp.item() == round(-128 + 255 / 2.7)
    theirs = math.trunc(-128 + 1 / q.scale.item())
    return Found(theirs != q.azp.item(), code(theirs), code(q.azp.item()))


# ---- loading --------------------------------------------------------------------------------------


def moved(weight, scales, widths, to_wide=torch.Tensor.half):
    """requantize_with_max_scale as vLLM has it."""
    largest = scales.max()
    out = weight.float()
    if scales[-1] > torch.finfo(FP8).min:
        for rows, scale in zip(torch.split(torch.arange(len(weight)), widths), scales):
            out[rows] = kernel_to_fp8((to_wide(weight[rows].float()) * scale).float() * (1 / largest)).float()
    return largest, out


@defect("vllm_loading", "requantising goes through float16, which overflows: a code of 448 from a scale of 200 to one of 400")
def test_requantizing_through_float16():
    weight, scales = full(2, 1, 448), torch.tensor([200.0, 400.0])
    scale, mine = w8a8.requantize_with_max_scale(weight, scales, [1, 1])
    assert torch.equal(mine.float() * scale, weight.float() * scales[:, None])
    largest, theirs = moved(weight, scales, [1, 1])
    return Found(corner(theirs * largest) != 89600, number(theirs * largest), number(mine.float() * scale))


@defect("vllm_loading", "a last shard without rows, whose scale was never loaded, makes the others pass for fused: "
                        "the values 1 * 1 and 1 * 4")
def test_a_last_shard_without_rows():
    weight, scales = full(2, 1, 1), torch.tensor([1.0, 4.0, UNSET])
    scale, mine = w8a8.requantize_with_max_scale(weight, scales, [1, 1, 0])
    assert torch.equal((mine.float() * scale)[:, 0], scales[:2])
    largest, theirs = moved(weight, scales, [1, 1, 0])
    values = [(y.float() * s)[:, 0].tolist() for y, s in ((theirs, largest), (mine, scale))]
    return Found(values[0] != values[1], code(values[0]), code(values[1]))


@defect("vllm_loading", "scales that were never loaded leak out as scales", "vllm-omni#5262 vllm-omni#5263")
def test_scales_that_were_never_loaded():
    weight, scales = full(2, 1, 1), torch.tensor([UNSET, UNSET])
    mine = refusal(lambda: w8a8.requantize_with_max_scale(weight, scales, [1, 1]))
    assert mine.startswith("`ValueError") and refusal(lambda: w8a8.convert_to_channelwise(scales, [1, 1]))
    largest, _ = moved(weight, scales, [1, 1])
    return Found(bool(largest < 0), code(f"{largest.item():g}"), "`ValueError`; one scale loaded of several is a "
                 "fused checkpoint")


@defect("vllm_loading", "a NaN of e4m3fn becomes 240 in e4m3fnuz, twice the scale: NaN, 1")
def test_nan_becomes_240():
    weight = torch.tensor([[torch.nan, 1.0]]).to(FP8)
    mine, scale, _ = w8a8.normalize_e4m3fn_to_e4m3fnuz(weight, ONE)
    assert torch.equal((mine.float() * scale).nan_to_num(-1), weight.float().nan_to_num(-1))
    theirs = weight.view(torch.int8).clone()
    theirs[theirs == -128] = 0
    theirs = theirs.view(FNUZ).float() * 2
    return Found(not theirs[0, 0].isnan(), code(theirs[0].tolist()), code((mine.float() * scale)[0].tolist()))


@defect("vllm_loading", "conversion to e4m3fnuz rewrites the given weight: -0 there, afterwards")
def test_conversion_rewrites_the_weight():
    weight = torch.tensor([[-0.0]]).to(FP8)
    given = weight.clone()
    w8a8.normalize_e4m3fn_to_e4m3fnuz(given, ONE)
    assert torch.equal(given.view(torch.uint8), weight.view(torch.uint8))
    theirs = weight.clone()
    bits = theirs.view(torch.int8)
    bits[bits == -128] = 0
    return Found(not torch.equal(bits, weight.view(torch.int8)), number(theirs), number(given))
