# SPDX-License-Identifier: Apache-2.0
"""What PyTorch gets wrong, loses, refuses or leaves uninitialised on the CPU, beside Octavo: one product.

Each function asserts Octavo's half against a formula in float64 and returns both halves, which are a row
of docs/known-wrong.md. A PyTorch that has mended its half gets a skip that says so.
"""

import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", minversion="2.10")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from known_wrong import BF16, E5M2, F, F32, FP8, ONE, Found, Kind, code, corner, defect, exact, full, number  # noqa: E402
from known_wrong import refusal, small  # noqa: E402
from octavo.torch import functional as OF  # noqa: E402

# ---- scales and results ---------------------------------------------------------------------------


@defect("dense", "`scale_result=0.5` is validated and ignored: out float32, bfloat16, float16 (32 products of 1)",
        "119135 190449")
def test_scale_result_is_ignored():
    a, b = full(16, 32, 1), full(32, 16, 1)
    wrong = False
    for dtype in (F32, BF16, torch.float16):
        theirs = torch._scaled_mm(a, b, ONE, ONE, scale_result=ONE / 2, out_dtype=dtype)
        mine = octavo.scaled_mm(a, b, scale_result=0.5, out_dtype=dtype)
        assert torch.equal(mine.double(), exact(a, b) / 2)
        wrong |= not torch.equal(theirs, mine)
    return Found(wrong, number(theirs), number(mine))


@defect("dense", "`scale_result=0.5` divides where the output is fp8 (CUDA's code multiplies)", "190449 190979")
def test_scale_result_divides():
    a, b = full(16, 32, 1), full(32, 16, 1)
    theirs = torch._scaled_mm(a, b, ONE, ONE, scale_result=ONE / 2, out_dtype=FP8)
    mine = octavo.scaled_mm(a, b, scale_result=0.5, out_dtype=FP8)
    assert torch.equal(mine.double(), exact(a, b) / 2)
    return Found(not torch.equal(theirs.float(), mine.float()), number(theirs), number(mine))


@defect("dense", "`scale_result=0.5` is ignored where `out_dtype` is left out, though the output is fp8 then")
def test_scale_result_is_ignored_by_default():
    a, b = full(16, 32, 1), full(32, 16, 1)
    theirs = torch._scaled_mm(a, b, ONE, ONE, scale_result=ONE / 2)
    mine = octavo.scaled_mm(a, b, scale_result=0.5)
    assert torch.equal(mine.double(), exact(a, b) / 2)
    return Found(corner(theirs) != corner(mine), number(theirs), number(mine))


@defect("dense", "the output is fp8 by default, so that sums are lost in it: 1000 products of 1", "160816")
def test_the_default_output_is_fp8():
    a, b = full(16, 1000, 1), full(1000, 16, 1)
    theirs, mine = torch._scaled_mm(a, b, ONE, ONE), octavo.scaled_mm(a, b)
    assert torch.equal(mine.double(), exact(a, b))
    return Found(theirs.dtype == FP8, f"{number(theirs)}, {theirs.dtype}", f"{number(mine)}, {mine.dtype}")


@defect("dense", "fp8 results beyond the range saturate in e4m3fn and not in e5m2 (largest value 57344): 32 products "
                 "of 448 * 448")
def test_overflow_in_e5m2():
    a, b = full(16, 32, 448), full(32, 16, 448)
    theirs = torch._scaled_mm(a, b, ONE, ONE, out_dtype=E5M2)
    mine = octavo.scaled_mm(a, b, out_dtype=E5M2)
    assert torch.equal(mine.double(), exact(a, b).clamp(max=57344))
    assert torch.isinf(octavo.scaled_mm(a, b, out_dtype=E5M2, saturate=False).float()).all()  # on request
    saturated = torch._scaled_mm(a, b, ONE, ONE, out_dtype=FP8)
    return Found(corner(theirs) != corner(mine), f"{number(theirs)}; {number(saturated)} in e4m3fn", number(mine))


@defect("dense", "a bias of 1 is dropped at K = 0")
def test_bias_without_a_sum():
    a, b, bias = torch.empty(4, 0).to(FP8), torch.empty(0, 8).to(FP8), torch.ones(8)
    theirs = F.scaled_mm(a, b, ONE, Kind.TensorWise, ONE, Kind.TensorWise, bias=bias, output_dtype=F32)
    mine = OF.scaled_mm(a, b, ONE, Kind.TensorWise, ONE, Kind.TensorWise, bias=bias, output_dtype=F32)
    assert torch.equal(mine.double(), exact(a, b) + 1)
    assert not octavo.scaled_mm(a, b, bias=bias, torch_compat=True).any()  # on request
    other = torch._scaled_mm(a, b, ONE, ONE, bias=bias, out_dtype=F32)
    shown = f"{number(theirs)}; {number(other)} by `torch._scaled_mm`"
    return Found(not torch.equal(theirs, mine), shown, number(mine))


@defect("dense", "scales are multiplied into the operands first: 2^-9 * 2^-141 underflows, 2^8 * 2^120 overflows; "
                 "the sum of 32 products is 2^-17")
def test_scales_within_the_sum():
    a, b = full(16, 32, 2.0**-9), full(32, 16, 256.0)
    sa, sb = torch.tensor(2.0**-141), torch.tensor(2.0**120)
    theirs = torch._scaled_mm(a, b, sa, sb, out_dtype=F32)
    mine = octavo.scaled_mm(a, b, sa, sb, out_dtype=F32)
    assert torch.equal(mine.double(), exact(a, b) * 2.0**-21)
    return Found(corner(theirs) != 2.0**-17, number(theirs), "`2^-17`")


@defect("dense", "`contraction_dim=(0, 1)` asks for the product of both transposes and gets the plain one", "197028")
def test_contraction_dim_is_ignored():
    a, b = small(16, 16), small(16, 16, seed=2)
    given = (a, b, ONE, Kind.TensorWise, ONE, Kind.TensorWise, None, None, None, F32, (0, 1))
    transposed = exact(a.t(), b.t())
    assert torch.equal(octavo.scaled_mm(a, b, trans_a=True, trans_b=True, out_dtype=F32).double(), transposed)
    with pytest.raises(ValueError, match="contraction_dim must be"):
        OF.scaled_mm(*given)
    try:
        theirs = F.scaled_mm(*given).double()
    except Exception:
        return Found(False, "", "")
    return Found(torch.equal(theirs, exact(a, b)), "`a @ b`", "`ValueError`; `trans_a` and `trans_b` give `a.T @ b.T`")


@defect("dense", "one row's result depends on how many rows come with it (float32, K = 4096)", "vllm#37718")
def test_a_row_depends_on_the_number_of_rows():
    generator = torch.Generator().manual_seed(1)
    x, w = torch.randn(64, 4096, generator=generator), torch.randn(4096, 512, generator=generator)
    mine = [octavo.scaled_mm(x[:rows], w)[0] for rows in (64, 1, 2)]
    assert torch.equal(mine[0], mine[1]) and torch.equal(mine[0], mine[2])
    assert torch.allclose(mine[0].double(), exact(x[:1], w)[0], rtol=0, atol=4100 * 2**-24 * float(
        exact(x[:1].abs(), w.abs()).max()))
    theirs = [(x[:rows] @ w)[0] for rows in (64, 1, 2)]
    return Found(not all(torch.equal(theirs[0], y) for y in theirs), "other bits for 1 row than for 64",
                 "the same bits")


# ---- what is refused ------------------------------------------------------------------------------


@defect("refused", "128 x 128 and 1 x 128 scales, whatever K (reported on CUDA: wrong unless K is a multiple of 512)",
        "166752 193802")
def test_block_scales():
    for blocks in (1, 2, 3, 5, 10):
        m, n, k, padded = 128, 256, 128 * blocks, (blocks + 3) // 4 * 4
        a, b = small(m, k), small(n, k, seed=2).t()
        sa = 2.0 ** small(blocks, m, seed=3, dtype=F32)  # powers of two: every sum is exact
        sb = torch.full((padded, n // 128), 1e30)
        sb[:blocks] = 2.0 ** small(blocks, n // 128, seed=4, dtype=F32)
        sb = sb.t().contiguous().t()
        given = (a, b, sa.t(), Kind.BlockWise1x128, sb, Kind.BlockWise128x128)
        wide_a = sa.double().t().repeat_interleave(128, 1)
        wide_b = sb[:blocks].double().repeat_interleave(128, 0).repeat_interleave(128, 1)
        wanted = exact(a.double() * wide_a, b.double() * wide_b)
        assert torch.equal(OF.scaled_mm(*given, output_dtype=F32).double(), wanted)
    theirs = refusal(lambda: F.scaled_mm(*given))
    return Found(theirs is not None, str(theirs), "right, PyTorch's padded layout included")


@defect("refused", "MX scales (e8m0 for groups of 32), plain or swizzled")
def test_mx_scales():
    a, b = small(128, 64), small(128, 64, seed=2).t()
    sa = (2.0 ** small(128, 2, seed=3, dtype=F32)).to(torch.float8_e8m0fnu)
    sb = (2.0 ** small(128, 2, seed=4, dtype=F32)).to(torch.float8_e8m0fnu)
    wide_a = sa.double().repeat_interleave(32, 1)
    wide_b = sb.double().repeat_interleave(32, 1).t()
    given = (a, b, sa, Kind.BlockWise1x32, sb, Kind.BlockWise1x32)
    mine = OF.scaled_mm(*given, output_dtype=F32)
    assert torch.equal(mine.double(), exact(a.double() * wide_a, b.double() * wide_b))
    swizzled = [swizzle(s) for s in (sa, sb)]
    given = (a, b, swizzled[0], Kind.BlockWise1x32, swizzled[1], Kind.BlockWise1x32, F.SwizzleType.SWIZZLE_32_4_4,
             F.SwizzleType.SWIZZLE_32_4_4)
    assert torch.equal(OF.scaled_mm(*given, output_dtype=F32), mine)
    theirs = refusal(lambda: F.scaled_mm(*given))
    return Found(theirs is not None, str(theirs), "right, both layouts")


def swizzle(scale):
    """SWIZZLE_32_4_4: tiles of 128 x 4, each stored as 32 x 4 x 4."""
    rows, cols = scale.shape
    tiles = torch.zeros(rows, -(-cols // 4) * 4, dtype=torch.uint8)
    tiles[:, :cols] = scale.view(torch.uint8)
    tiles = tiles.view(rows // 128, 4, 32, -1, 4).permute(0, 3, 2, 1, 4)
    return tiles.contiguous().view(-1).view(scale.dtype)


@defect("refused", "scales per token with a scale per tensor, and the other way round", "vllm#15433")
def test_mixed_granularities():
    a, b = small(16, 32), small(24, 32, seed=2).t()
    rows, cols = 2.0 ** small(16, 1, seed=3, dtype=F32), 2.0 ** small(1, 24, seed=4, dtype=F32)
    for sa, kind_a, sb, kind_b in ((rows, Kind.RowWise, ONE, Kind.TensorWise),
                                   (ONE, Kind.TensorWise, cols, Kind.RowWise)):
        mine = OF.scaled_mm(a, b, sa, kind_a, sb, kind_b, output_dtype=F32)
        assert torch.equal(mine.double(), exact(a, b) * sa * sb)
        theirs = refusal(lambda: F.scaled_mm(a, b, sa, kind_a, sb, kind_b))
    return Found(theirs is not None, str(theirs), "right")


@defect("refused", "scales of rows and columns as vectors")
def test_row_scales_as_vectors():
    a, b = small(16, 32), small(24, 32, seed=2).t()
    sa, sb = 2.0 ** small(16, seed=3, dtype=F32), 2.0 ** small(24, seed=4, dtype=F32)
    mine = OF.scaled_mm(a, b, sa, Kind.RowWise, sb, Kind.RowWise, output_dtype=F32)
    assert torch.equal(mine.double(), exact(a, b) * sa[:, None] * sb)
    theirs = refusal(lambda: F.scaled_mm(a, b, sa, Kind.RowWise, sb, Kind.RowWise))
    return Found(theirs is not None, str(theirs), "right")


@defect("refused", "a scale that is a number")
def test_a_scale_that_is_a_number():
    a, b = small(16, 32), small(24, 32, seed=2).t()
    mine = OF.scaled_mm(a, b, 0.5, Kind.TensorWise, 2, Kind.TensorWise, output_dtype=F32)
    assert torch.equal(mine.double(), exact(a, b))
    assert torch.equal(octavo.scaled_mm(a, b, 0.5, 2, out_dtype=F32), mine)
    theirs = refusal(lambda: torch._scaled_mm(a, b, 0.5, 2.0, out_dtype=F32))
    return Found(theirs is not None, str(theirs), "right")


@defect("refused", "int8 operands with scales, in one call", "ao#862 180455")
def test_int8_with_scales():
    a, b = small(16, 32, dtype=torch.int8), small(24, 32, seed=2, dtype=torch.int8).t()
    sa, sb = 2.0 ** small(16, 1, seed=3, dtype=F32), 2.0 ** small(1, 24, seed=4, dtype=F32)
    mine = octavo.scaled_mm(a, b, sa, sb)
    assert torch.equal(mine.double(), exact(a, b) * sa * sb)
    theirs = refusal(lambda: torch._scaled_mm(a, b, sa, sb, out_dtype=F32))
    return Found(theirs is not None, str(theirs), "right")


@defect("refused", "bfloat16 by int8 or fp8 weights")
def test_8_bit_weights_with_16_bit_activations():
    x = small(4, 32, dtype=BF16)
    for dtype in (torch.int8, FP8):
        w = small(32, 24, seed=2, dtype=dtype)
        assert torch.equal(octavo.scaled_mm(x, w, out_dtype=F32).double(), exact(x, w))
        theirs = refusal(lambda: x @ w)
    return Found(theirs is not None, str(theirs), "right")


@defect("refused", "batches; the sentence is about something else", "129803")
def test_batches():
    a, b = small(2, 16, 32), small(2, 32, 24, seed=2)
    sa, sb = 2.0 ** small(2, 16, seed=3, dtype=F32), 2.0 ** small(2, 24, seed=4, dtype=F32)
    mine = octavo.grouped_mm(a, b, scale_a=sa, scale_b=sb, out_dtype=F32)
    assert torch.equal(mine.double(), exact(a, b) * sa[:, :, None] * sb[:, None])
    theirs = refusal(lambda: torch._scaled_mm(a, b, ONE, ONE, out_dtype=F32))
    return Found(theirs is not None, str(theirs), "right (`octavo.grouped_mm`)")


@defect("refused", "gradients of a scaled product: the forward pass runs, then", "166729")
def test_gradients():
    a, b = small(16, 32), small(24, 32, seed=2).t()
    bias = torch.zeros(24, requires_grad=True)
    sa = torch.tensor(2.0, requires_grad=True)
    octavo.scaled_mm(a, b, sa, None, bias, out_dtype=F32).sum().backward()
    assert sa.grad.double() == exact(a, b).sum() and torch.equal(bias.grad, torch.full((24,), 16.0))
    theirs = refusal(lambda: torch._scaled_mm(a, b, sa, ONE, bias=bias, out_dtype=F32).sum().backward())
    return Found(theirs is not None, str(theirs), "right (operands, scales, bias)")


# ---- integers -------------------------------------------------------------------------------------


@defect("integer", "`torch.mm` of int8 wraps at 8 bits: 2 products of 127 * 127")
def test_int8_products_wrap():
    a, b = full(1, 2, 127, torch.int8), full(2, 1, 127, torch.int8)
    mine = octavo.scaled_mm(a, b)
    assert torch.equal(mine.double(), exact(a, b))
    theirs = torch.mm(a, b)
    return Found(corner(theirs) != corner(mine), number(theirs), number(mine))


@defect("integer", "`_int_mm` wraps at 32 bits: 140000 products of -128 * -128 into float32")
def test_int_mm_wraps():
    a = full(1, 140000, -128, torch.int8)
    theirs, mine = torch._int_mm(a, a.t().contiguous()), octavo.scaled_mm(a, a.t())
    assert torch.equal(mine.double(), exact(a, a.t()))
    assert octavo.scaled_mm(a, a.t(), out_dtype=torch.int32).item() == 2**31 - 1  # saturated
    return Found(theirs.item() != 2293760000, code(theirs.item()), code(f"{mine.item():.0f}"))


@defect("integer", "`_int_mm` sums pairs in 16 bits, which saturate, on a CPU without VNNI (here oneDNN is told that "
                   "there is none): 1000 products of 127 * 127", "136746")
def test_int_mm_saturates_without_vnni():
    a, b = full(17, 1000, 127, torch.int8), full(1000, 16, 127, torch.int8)
    for backend in [b.name for b in octavo.machine.backends() if b.usable]:
        mine = octavo.scaled_mm(a, b, out_dtype=torch.int32, backend=backend)
        assert torch.equal(mine.double(), exact(a, b))
    program = ("import torch; a = torch.full((17, 1000), 127, dtype=torch.int8); "
               "print(torch._int_mm(a, a[:16].t().contiguous())[0, 0].item())")
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ, ONEDNN_MAX_CPU_ISA="AVX2"),
                          capture_output=True, text=True, check=True)
    theirs = int(done.stdout)
    return Found(theirs != mine[0, 0].item(), code(theirs), f"{code(mine[0, 0].item())}, every backend")


@defect("integer", "`_int_mm` of one column by one row that is a transposed view: products of 2 * 3")
def test_int_mm_of_one_column():
    a, b = full(4, 1, 2, torch.int8), full(3, 1, 3, torch.int8).t()
    theirs, mine = torch._int_mm(a, b), octavo.scaled_mm(a, b, out_dtype=torch.int32)
    assert torch.equal(mine.double(), exact(a, b))
    wrong = not torch.equal(theirs, mine)
    return Found(wrong, "uninitialised" if wrong else number(theirs), number(mine))


@defect("integer", "float32 to int8: 300, -129, 2.5, 3.5, inf, NaN", "ao#1912")
def test_casts_to_int8_wrap_and_truncate():
    x = torch.tensor([[300.0, -129.0, 2.5, 3.5, torch.inf, torch.nan]])
    wanted = x.double().round().nan_to_num(0).clamp(-128, 127).to(torch.int8)
    mine = octavo.quantize(x, "int8", "tensor", scale=1.0).data
    assert torch.equal(mine, wanted)
    assert torch.equal(octavo.scaled_mm(x.t(), torch.ones(1, 1), out_dtype=torch.int8).t(), wanted)
    theirs = x.to(torch.int8)
    return Found(not torch.equal(theirs, wanted), code(theirs[0].tolist()), code(mine[0].tolist()))


@defect("integer", "float32 to fp8 follows another rule for each type: 1e6 as e4m3fn, e5m2, e4m3fnuz, e5m2fnuz",
        "178817")
def test_casts_to_fp8():
    kinds = (FP8, E5M2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
    x = torch.tensor([[1e6]])
    mine = [octavo.quantize(x, kind, "tensor", scale=1.0).data.float().item() for kind in kinds]
    assert mine == [torch.finfo(kind).max for kind in kinds]
    theirs = [x.to(kind).float().item() for kind in kinds]
    return Found(theirs != mine, code(theirs), code(mine))


# ---- right here -----------------------------------------------------------------------------------


@defect("right", "e5m2 by e5m2 is refused on CUDA", "132005")
def test_e5m2_by_e5m2():
    a, b = small(16, 32, dtype=E5M2), small(24, 32, seed=2, dtype=E5M2).t()
    assert torch.equal(octavo.scaled_mm(a, b, out_dtype=F32).double(), exact(a, b))
    wrong = not torch.equal(torch._scaled_mm(a, b, ONE, ONE, out_dtype=F32).double(), exact(a, b))
    return Found(wrong, "right", "right")


@defect("right", "float32 bias with float32 output is refused on CUDA", "190538")
def test_float32_bias():
    a, b, bias = small(16, 32), small(24, 32, seed=2).t(), torch.full((24,), 1 + 2.0**-12)
    wanted = exact(a, b) + bias
    assert torch.equal(octavo.scaled_mm(a, b, bias=bias, out_dtype=F32).double(), wanted)
    theirs = torch._scaled_mm(a, b, ONE, ONE, bias=bias, out_dtype=F32)
    return Found(not torch.equal(theirs.double(), wanted), "right", "right")


@defect("right", "converted to float16 before the scales bring it back into range (in torch-mlir)", "torch-mlir#4616")
def test_scales_come_before_the_narrow_conversion():
    a, b = full(16, 64, 448), full(64, 16, 448)
    scale = torch.tensor(2.0**-10)
    wanted = (exact(a, b) * 2.0**-20).half()
    assert torch.equal(octavo.scaled_mm(a, b, scale, scale, out_dtype=torch.float16), wanted)
    theirs = torch._scaled_mm(a, b, scale, scale, out_dtype=torch.float16)
    return Found(not torch.equal(theirs, wanted), number(theirs), number(wanted))


@defect("right", "`_int_mm` needs M > 16 and multiples of 8 on CUDA", "178469 ao#2376")
def test_int_mm_of_any_size():
    a, b = full(1, 7, -128, torch.int8), full(7, 3, 127, torch.int8)
    assert torch.equal(octavo.scaled_mm(a, b, out_dtype=torch.int32).double(), exact(a, b))
    return Found(not torch.equal(torch._int_mm(a, b).double(), exact(a, b)), "right", "right")
