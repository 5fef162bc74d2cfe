# SPDX-License-Identifier: Apache-2.0
"""What PyTorch gets wrong, loses, refuses or leaves uninitialised on the CPU, beside Octavo.

Each function asserts Octavo's half against a formula in float64 and returns both halves, which are a row
of docs/known-wrong.md. A PyTorch that has mended its half gets a skip that says so.
"""

import os
import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", minversion="2.10")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from known_wrong import PAGE, ROWS, Found, code, defect, refusal, write_page  # noqa: E402
from octavo.torch import functional as OF  # noqa: E402

F = torch.nn.functional
Kind = F.ScalingType
FP8, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
BF16, F32 = torch.bfloat16, torch.float32
ONE = torch.ones(())


def small(*shape, seed=1, dtype=FP8):
    """Small integers, whose sums are exact in every type here."""
    return torch.randint(-4, 5, shape, generator=torch.Generator().manual_seed(seed)).to(F32).to(dtype)


def full(rows, cols, value, dtype=FP8):
    return torch.full((rows, cols), value).to(dtype)


def exact(a, b):
    return a.double() @ b.double()


def corner(y):
    return y[0, 0].double().item()


def number(y):
    return code(f"{corner(y):g}")


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
    for backend in [b.name for b in octavo.backends() if b.usable]:
        mine = octavo.scaled_mm(a, b, out_dtype=torch.int32, backend=backend)
        assert torch.equal(mine.double(), exact(a, b))
    program = ("import torch; a = torch.full((17, 1000), 127, dtype=torch.int8); "
               "print(torch._int_mm(a, a[:16].t().contiguous())[0, 0].item())")
    done = subprocess.run([sys.executable, "-c", program], env=dict(os.environ, ONEDNN_MAX_CPU_ISA="AVX2"),
                          capture_output=True, text=True, check=True)
    theirs = int(done.stdout)
    return Found(theirs != mine[0, 0].item(), code(theirs), f"{code(mine[0, 0].item())}, every backend")


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


# ---- grouped products -----------------------------------------------------------------------------


class Marked:
    """PyTorch's own way to show uninitialised memory: it is filled with NaN."""

    def __enter__(self):
        torch.use_deterministic_algorithms(True)
        self.fill, torch.utils.deterministic.fill_uninitialized_memory = (
            torch.utils.deterministic.fill_uninitialized_memory, True)

    def __exit__(self, *error):
        torch.use_deterministic_algorithms(False)
        torch.utils.deterministic.fill_uninitialized_memory = self.fill


def ends(*values, dtype=torch.int32):
    return torch.tensor(values, dtype=dtype)


def by_group(x, w, offs):
    """Rows of x by their group's w; zeros past the last end."""
    y = torch.zeros(x.shape[0], w.shape[2], dtype=torch.double)
    start = 0
    for g, end in enumerate(offs.tolist()):
        y[start:end] = exact(x[start:end], w[g])
        start = end
    return y


def uninitialised(y):
    return "uninitialised" if y.isnan().any() else "initialised"


@defect("grouped", "rows past the last offset", "193633 154557")
def test_rows_past_the_last_offset():
    x, w, offs = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16), ends(3, 3, 7)
    with Marked():
        mine, theirs = octavo.grouped_mm(x, w, offs=offs), F.grouped_mm(x, w, offs=offs)
    assert torch.equal(mine.double(), by_group(x, w, offs))
    return Found(bool(theirs[7:].isnan().all()), uninitialised(theirs[7:]), "zeros")


@defect("grouped", "gradients of those rows: `0 * NaN` in the next layer down", "193633")
def test_gradients_of_rows_past_the_last_offset():
    x, w, offs = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16), ends(3, 3, 7)
    grad = torch.ones(10, 24, dtype=BF16)
    found = []
    for product in (octavo.grouped_mm, F.grouped_mm):
        leaf = x.clone().requires_grad_()
        with Marked():
            product(leaf, w, offs=offs).backward(grad)
        found.append(leaf.grad)
    assert torch.equal(found[0].double(), by_group(grad, w.transpose(1, 2), offs))
    return Found(bool(found[1][7:].isnan().all()), uninitialised(found[1][7:]), "zeros")


@defect("grouped", "`y.sum().backward()`: the gradient of a sum has strides of 0")
def test_the_gradient_of_a_sum():
    x, w, offs = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16), ends(3, 3, 7)
    leaf = x.clone().requires_grad_()
    octavo.grouped_mm(leaf, w, offs=offs).sum().backward()
    assert torch.equal(leaf.grad.double(), by_group(torch.ones(10, 24), w.transpose(1, 2), offs))
    leaf = x.clone().requires_grad_()
    theirs = refusal(lambda: F.grouped_mm(leaf, w, offs=offs).sum().backward())
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "offsets that fall, are negative or end past the rows: [5, 3, 7], [-2, 3, 7], [3, 7, 12] of 10")
def test_impossible_offsets():
    x, w = torch.ones(10, 16), torch.ones(3, 16, 8)
    accepted = 0
    for offs in (ends(5, 3, 7), ends(-2, 3, 7), ends(3, 7, 12)):
        with pytest.raises(ValueError, match=r"grouped_mm: offs\[\d\] must be in \[\d, 10\]"):
            octavo.grouped_mm(x, w, offs=offs)
        accepted += refusal(lambda: F.grouped_mm(x, w, offs=offs)) is None
    return Found(accepted > 0, f"a result ({accepted} of 3)", refusal(lambda: octavo.grouped_mm(x, w, offs=offs)))


@defect("grouped", "a wrong number of offsets: 2 ends for 3 groups", "157922")
def test_the_wrong_number_of_offsets():
    x, w, offs = torch.ones(10, 16), torch.ones(3, 16, 8), ends(3, 7)
    with pytest.raises(ValueError, match=r"offs\.shape must be \[3\]"):
        octavo.grouped_mm(x, w, offs=offs)
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs))
    return Found("offs" not in str(theirs), str(theirs), refusal(lambda: octavo.grouped_mm(x, w, offs=offs)))


@defect("grouped", "K or N whose rows are no multiple of 16 bytes: float32, K = 7, N = 5", "172440 150374")
def test_strides_of_any_number_of_bytes():
    x, w, offs = small(10, 7, dtype=F32), small(3, 7, 5, dtype=F32), ends(3, 3, 7)
    assert torch.equal(octavo.grouped_mm(x, w, offs=offs).double(), by_group(x, w, offs))
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs))
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "views without a dimension of stride 1")
def test_views():
    x, w, offs = small(20, 32, dtype=F32)[::2, ::2], small(3, 16, 24, dtype=F32), ends(3, 3, 7)
    assert torch.equal(octavo.grouped_mm(x, w, offs=offs).double(), by_group(x, w, offs))
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs))
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "the result is not contiguous where N is no multiple of 16 bytes: strides of [10, 12] in bfloat16")
def test_results_are_contiguous():
    x, w, offs = small(10, 16, dtype=BF16), small(3, 12, 16, dtype=BF16).transpose(1, 2), ends(3, 3, 7)
    mine, theirs = octavo.grouped_mm(x, w, offs=offs), F.grouped_mm(x, w, offs=offs)
    assert mine.is_contiguous() and torch.equal(mine.double(), by_group(x, w, offs))
    return Found(not theirs.is_contiguous(), code(list(theirs.stride())), code(list(mine.stride())))


@defect("grouped", "a bias, though the documentation has one", "191652")
def test_bias():
    x, w, bias, offs = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16), small(3, 24, dtype=BF16), ends(3, 3, 10)
    wanted = by_group(x, w, offs) + bias.double().repeat_interleave(torch.tensor([3, 0, 7]), 0)
    assert torch.equal(octavo.grouped_mm(x, w, bias, offs=offs, out_dtype=F32).double(), wanted)
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs, bias=bias))
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "float32 output of bfloat16 operands", "159547")
def test_wide_output():
    x, w, offs = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16), ends(3, 3, 7)
    assert torch.equal(octavo.grouped_mm(x, w, offs=offs, out_dtype=F32).double(), by_group(x, w, offs))
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs, out_dtype=F32))
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "int64 offsets, which `cumsum` gives")
def test_int64_offsets():
    x, w = small(10, 16, dtype=BF16), small(3, 16, 24, dtype=BF16)
    offs = torch.tensor([3, 0, 4]).cumsum(0)
    assert torch.equal(octavo.grouped_mm(x, w, offs=offs).double(), by_group(x, w, offs))
    theirs = refusal(lambda: F.grouped_mm(x, w, offs=offs))
    return Found(theirs is not None, str(theirs), "right")


@defect("grouped", "8-bit operands with scales", "161366")
def test_scaled_groups():
    x, w, offs = small(10, 16), small(3, 24, 16).transpose(1, 2), ends(3, 3, 7)
    sa, sb = 2.0 ** small(10, seed=3, dtype=F32), 2.0 ** small(3, 24, seed=4, dtype=F32)
    wanted = by_group(x.double() * sa[:, None], w.double() * sb[:, None], offs)
    mine = OF.scaled_grouped_mm(x, w, sa, Kind.RowWise, sb, Kind.RowWise, offs=offs, output_dtype=F32)
    assert torch.equal(mine.double(), wanted)
    integers = octavo.grouped_mm(x.float().char(), w.float().char(), offs=offs, scale_a=sa, scale_b=sb)
    assert torch.equal(integers.double(), wanted)
    theirs = refusal(lambda: F.scaled_grouped_mm(x, w, sa, Kind.RowWise, sb, Kind.RowWise, offs=offs))
    return Found(theirs is not None, str(theirs), "right, fp8 and int8")


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


@defect("right", "empty K groups (weight gradients of experts without tokens) are garbage on some GPUs",
        "172439 174314")
def test_empty_groups_of_k():
    a, b, offs = small(16, 24, dtype=BF16), small(24, 8, seed=2, dtype=BF16), ends(8, 8, 24)
    with Marked():
        mine, theirs = octavo.grouped_mm(a, b, offs=offs), F.grouped_mm(a, b, offs=offs)
    wanted = torch.stack([exact(a[:, :8], b[:8]), torch.zeros(16, 8).double(), exact(a[:, 8:], b[8:])])
    assert torch.equal(mine.double(), wanted)
    return Found(not torch.equal(theirs.double(), wanted), "zeros", "zeros")


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


# ---- the page -------------------------------------------------------------------------------------


OWN = {"test_the_page_names_every_test_and_no_other", "test_the_page_is_about_tests_of_ours",
       "test_a_mended_defect_is_a_skip_and_a_stale_row_a_failure"}


def test_the_page_names_every_test_and_no_other():
    page = PAGE.read_text()
    named = re.findall(r"^\|.*\| `(test_\w+)` \|$", page, re.MULTILINE)
    assert named == [row.test for row in ROWS]
    assert {name for name in globals() if name.startswith("test_")} == set(named) | OWN


def test_the_page_is_about_tests_of_ours():
    source = (PAGE.parents[1] / "tests" / "ops" / "regression_pytorch_test.cpp").read_text()
    for name in re.findall(r"`Regression\.(\w+)`", PAGE.read_text()):
        assert f"TEST(Regression, {name})" in source


def test_a_mended_defect_is_a_skip_and_a_stale_row_a_failure(monkeypatch):
    monkeypatch.setattr("known_wrong.on_the_pages_machine", lambda: True)
    mended = defect("dense", "nothing")(lambda: Found(False, "", ""))
    stale = defect("dense", "nothing")(lambda: Found(True, "1", "2"))
    del ROWS[-2:]
    with pytest.raises(pytest.skip.Exception, match="mended in torch"):
        mended()
    with pytest.raises(AssertionError):
        stale()


if __name__ == "__main__":
    write_page()
