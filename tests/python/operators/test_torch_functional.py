# SPDX-License-Identifier: Apache-2.0
"""octavo.torch.functional beside torch's own functions and the helpers of torch's own tests."""

import inspect
import re

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch.functional as F  # noqa: E402
from bnb_kit import gaussian  # noqa: E402

Kind, Swizzle = torch.nn.functional.ScalingType, torch.nn.functional.SwizzleType
E4M3, E8M0 = torch.float8_e4m3fn, torch.float8_e8m0fnu


def fp8(*shape, seed):
    return gaussian(*shape, seed=seed).to(E4M3)


def mx(*shape, seed):
    """Powers of two from 1/4 to 4."""
    exponents = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed))
    return torch.exp2(exponents.float()).to(E8M0)


def up(x, multiple):
    return -(-x // multiple) * multiple


def blocked(scale):
    """SWIZZLE_32_4_4: tiles of 128 x 4, row r and column c of one at (r % 32) * 16 + r // 32 * 4 + c; flat."""
    rows, columns = scale.shape
    r, c = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    tile = (r // 128) * (up(columns, 4) // 4) + c // 4
    flat = torch.zeros(up(rows, 128) * up(columns, 4), dtype=torch.uint8)
    flat[tile * 512 + r % 32 * 16 + r % 128 // 32 * 4 + c % 4] = scale.view(torch.uint8)
    return flat.view(E8M0)


# ---- grids of 128 x 128 blocks: each is read right or refused ----------------------------------------------

# How a caller may hold s [blocks of rows, blocks of K], and whether that is the layout which BlockWise128x128 declares:
# PyTorch's [L4, blocks of rows], L4 = blocks of K up to a multiple of 4. Padding is 1e30, which must not be read.


def padded(s):
    return torch.nn.functional.pad(s, (0, up(s.shape[1], 4) - s.shape[1]), value=1e30).t()


def with_gaps(s):
    wide = torch.full((2 * s.shape[0], 3 * s.shape[1]), 1e30)
    wide[::2, ::3] = s
    return wide[::2, ::3]


LAYOUTS = {
    "natural": lambda s: s,
    "natural, column-major": lambda s: s.t().contiguous().t(),
    "natural, with gaps": with_gaps,
    "PyTorch's": padded,
    "PyTorch's, contiguous": lambda s: padded(s).contiguous(),
    "PyTorch's, with gaps": lambda s: with_gaps(padded(s)),
    "PyTorch's orientation": lambda s: s.t(),
    "PyTorch's orientation, contiguous": lambda s: s.t().contiguous(),
}


SQUARES = {(n, n) for n in range(2, 10)}
NOT_PADDED = {(down, across) for down in range(1, 10) for across in range(1, 10) if across % 4} - {(1, 1)}
REFUSED = {
    "natural": SQUARES,
    "natural, column-major": SQUARES - {(4, 4), (8, 8)},  # these have all that PyTorch's layout of another grid has
    "natural, with gaps": SQUARES,
    "PyTorch's": set(),
    "PyTorch's, contiguous": {(4, 4), (8, 8)},
    "PyTorch's, with gaps": {(4, 4), (8, 8)},
    "PyTorch's orientation": NOT_PADDED,
    "PyTorch's orientation, contiguous": NOT_PADDED | {(4, 4), (8, 8)},
}


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_grids_of_blocks_are_read_right_or_refused(layout, side):
    """Every grid up to 9 x 9. A product of ones has the sum of each block's scales along K, so a wrong place shows."""
    one, refused = torch.tensor(1.0), set()
    for down, across in ((down, across) for down in range(1, 10) for across in range(1, 10)):
        natural = torch.rand(down, across, generator=torch.Generator().manual_seed(down * 10 + across)) + 0.5
        given = LAYOUTS[layout](natural)
        declared = given.shape == (up(across, 4), down) and given.stride() == (1, up(across, 4))
        meant = given[:across].t() if declared else natural
        blocks, row = torch.ones(128 * down, 128 * across).to(E4M3), torch.ones(1, 128 * across).to(E4M3)
        scales = (given, Kind.BlockWise128x128), (one, Kind.TensorWise)
        operands = (blocks, row.t(), *scales[0], *scales[1]) if side == "a" else (row, blocks.t(), *scales[1], *scales[0])
        try:
            y = F.scaled_mm(*operands, output_dtype=torch.float32).flatten().double()
        except ValueError as error:
            assert re.match(rf"scaled_mm: scale_{side}\.(shape|strides) must .*; got \[\d+, \d+\]$", str(error)), error
            refused.add((down, across))
            continue
        want = (128 * meant.double().sum(1)).repeat_interleave(128)
        bound = (128 * across + 1) * 2**-24  # of specification section 9: a rounding for each term, and of the result
        assert ((y - want).abs() <= bound * want).all(), (down, across)
    assert refused == REFUSED[layout]


# ---- MX scales of groups, as torch's tests lay them out ------------------------------------------------------


@pytest.mark.parametrize("ends", [(128, 128, 200, 384), (1, 130, 130, 300), (0, 0, 0, 384)])
def test_mx_groups_2d_3d(ends):
    groups, m, n, k = 4, 384, 160, 256
    x, w = fp8(m, k, seed=1), fp8(groups, n, k, seed=2)
    sx, sw = mx(m, k // 32, seed=3), mx(groups, n, k // 32, seed=4)
    starts = (0, *ends[:-1])
    parts = [blocked(sx[begin:end]) for begin, end in zip(starts, ends) if end > begin]
    x_scale = torch.cat(parts).reshape(-1, k // 32)
    w_scale = torch.stack([blocked(s) for s in sw])
    assert w_scale.shape == (groups, up(n, 128) * up(k // 32, 4))
    offs = torch.tensor(ends, dtype=torch.int32)
    given = (x, w.transpose(-2, -1), x_scale, Kind.BlockWise1x32, w_scale, Kind.BlockWise1x32)
    y = F.scaled_grouped_mm(*given, swizzle_a=Swizzle.SWIZZLE_32_4_4, swizzle_b=Swizzle.SWIZZLE_32_4_4, offs=offs,
                            output_dtype=torch.float32)
    dx = x.float() * sx.float().repeat_interleave(32, 1)
    dw = w.float() * sw.float().repeat_interleave(32, 2)
    for g, (begin, end) in enumerate(zip(starts, ends)):
        assert torch.allclose(y[begin:end], dx[begin:end] @ dw[g].t(), rtol=1e-4, atol=1e-2)
    assert (y[ends[-1]:] == 0).all()
    longer = torch.cat([x_scale.flatten(), x_scale.flatten()[:512]])  # made before the groups were known
    assert torch.equal(F.scaled_grouped_mm(x, w.transpose(-2, -1), longer, *given[3:], Swizzle.SWIZZLE_32_4_4,
                                           Swizzle.SWIZZLE_32_4_4, offs=offs, output_dtype=torch.float32), y)


@pytest.mark.parametrize("ends", [(32, 160, 160, 384), (128, 256, 320, 352), (384, 384, 384, 384)])
def test_mx_groups_2d_2d(ends):
    m, n, k = 130, 160, 384
    x, w = fp8(m, k, seed=1), fp8(n, k, seed=2)
    sx, sw = mx(m, k // 32, seed=3), mx(n, k // 32, seed=4)
    starts = (0, *ends[:-1])

    def cut(scale):
        parts = [blocked(scale[:, begin // 32:end // 32]) for begin, end in zip(starts, ends) if end > begin]
        return torch.cat(parts).reshape(up(scale.shape[0], 128), -1)

    y = F.scaled_grouped_mm(x, w.t(), cut(sx), Kind.BlockWise1x32, cut(sw), Kind.BlockWise1x32,
                            Swizzle.SWIZZLE_32_4_4, Swizzle.SWIZZLE_32_4_4,
                            offs=torch.tensor(ends, dtype=torch.int32), output_dtype=torch.float32)
    dx = x.float() * sx.float().repeat_interleave(32, 1)
    dw = w.float() * sw.float().repeat_interleave(32, 1)
    for g, (begin, end) in enumerate(zip(starts, ends)):
        assert torch.allclose(y[g], dx[:, begin:end] @ dw[:, begin:end].t(), rtol=1e-4, atol=1e-2)
    with pytest.raises(ValueError, match="offs must begin at multiples of 32 for SWIZZLE_32_4_4 where K is cut"):
        F.scaled_grouped_mm(x, w.t(), cut(sx), Kind.BlockWise1x32, cut(sw), Kind.BlockWise1x32,
                            Swizzle.SWIZZLE_32_4_4, Swizzle.SWIZZLE_32_4_4,
                            offs=torch.tensor((33, 160, 384), dtype=torch.int32))


# ---- torch._scaled_mm --------------------------------------------------------------------------------------


def test_scaled_mm_of_old_has_torchs_arguments():
    names = list(inspect.signature(F._scaled_mm).parameters)
    schema = torch.ops.aten._scaled_mm.default._schema
    assert ["input" if a.name == "self" else a.name for a in schema.arguments] == names


M, N, K = 130, 140, 300
DOWN = {"one": lambda outer: (), "rows": lambda outer: (outer, 1), "groups": lambda outer: (outer, 3),
        "blocks": lambda outer: (2, 3)}


def spread(kind, scale, outer):
    if kind == "one":
        return scale
    rows = scale.repeat_interleave(128, 0)[:outer] if kind == "blocks" else scale
    return rows.repeat_interleave(128, 1)[:, :K] if kind in ("groups", "blocks") else rows


@pytest.mark.parametrize("right", DOWN)
@pytest.mark.parametrize("left", DOWN)
def test_every_pair_of_scales(left, right):
    a, b = fp8(M, K, seed=1), fp8(N, K, seed=2)
    sa, sb = (torch.rand(DOWN[kind](outer), generator=torch.Generator().manual_seed(outer)) + 0.5
              for kind, outer in ((left, M), (right, N)))
    bias = gaussian(N, seed=4)
    for fast in (False, True):
        y = F._scaled_mm(a, b.t(), sa, sb if right == "one" else sb.t(), bias, out_dtype=torch.float32,
                         use_fast_accum=fast)
        want = (a.double() * spread(left, sa, M)) @ (b.double() * spread(right, sb, N)).t() + bias
        assert torch.allclose(y.double(), want, rtol=1e-5, atol=1e-3)
    assert F._scaled_mm(a.bfloat16(), b.t(), sa, sb if right == "one" else sb.t()).dtype == torch.bfloat16


def test_scaled_mm_of_old_beside_torchs():
    a, b = fp8(64, 96, seed=1), fp8(48, 96, seed=2)
    for sa, sb in ((torch.tensor(0.5), torch.tensor(0.25)),):
        want = torch._scaled_mm(a, b.t(), sa, sb, out_dtype=torch.float32)
        assert torch.allclose(F._scaled_mm(a, b.t(), sa, sb, out_dtype=torch.float32), want, rtol=1e-5, atol=1e-4)
    assert F._scaled_mm(a, b.t(), sa, sb).dtype == torch._scaled_mm(a, b.t(), sa, sb).dtype
    sx, sw = mx(64, 3, seed=3), mx(48, 3, seed=4)
    want = F.scaled_mm(a, b.t(), sx, Kind.BlockWise1x32, sw, Kind.BlockWise1x32, output_dtype=torch.float32)
    assert torch.equal(F._scaled_mm(a, b.t(), blocked(sx), blocked(sw), out_dtype=torch.float32), want)
    assert torch.equal(F._scaled_mm(a, b.t(), sa, sb, scale_result=torch.tensor(2.0), out_dtype=torch.float32),
                       2 * F._scaled_mm(a, b.t(), sa, sb, out_dtype=torch.float32))


def test_what_scaled_mm_of_old_refuses():
    a, b, one = fp8(4, 8, seed=1), fp8(3, 8, seed=2).t(), torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"_scaled_mm: scale_a.shape must be one element or one of \[4, 1\], .*; got \[5, 1\]"):
        F._scaled_mm(a, b, torch.ones(5, 1), one)
    with pytest.raises(ValueError, match=r"_scaled_mm: scale_b.shape must be one element or one of \[1, 3\], .*; got \[3, 1\]"):
        F._scaled_mm(a, b, one, torch.ones(3, 1))
    with pytest.raises(ValueError, match=r"_scaled_mm: scale_a must have 512 contiguous elements \(SWIZZLE_32_4_4"):
        F._scaled_mm(a, b, torch.ones(4).to(E8M0), one)
    with pytest.raises(ValueError, match=r"_scaled_mm: input and mat2 must be matrices \[M, K\] and \[K, N\]; got"):
        F._scaled_mm(a, b.t(), one, one)


# ---- gradients of scales ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int8, E4M3])
def test_gradients_of_scales_are_not_those_of_a_rounded_gradient(dtype):
    """Their terms cancel: with a gradient in bfloat16 they were off by per cents."""
    m, n, k = 64, 96, 2048
    a, b = ((gaussian(rows, k, seed=rows) * 20).round().to(dtype) for rows in (m, n))
    sa, sb = (torch.rand(rows, 1) + 0.5 for rows in (m, n))
    grad = gaussian(m, n, seed=7)
    scales = [s.clone().requires_grad_() for s in (sa, sb)]
    octavo.scaled_mm(a, b.t(), scales[0], scales[1].t(), granularity_a="token", granularity_b="channel",
                     out_dtype="float32").backward(grad)
    exact = [s.double().requires_grad_() for s in (sa, sb)]
    ((a.double() * exact[0]) @ (b.double() * exact[1]).t()).backward(grad.double())
    for found, wanted in zip(scales, exact):
        assert (found.grad.double() - wanted.grad).norm() < 1e-5 * wanted.grad.norm()
