# SPDX-License-Identifier: Apache-2.0
"""tests/layers/w8a8/scales.txt: what shapes of scales mean, in Python as in C++ (scales_test.cpp)."""

import ast
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
from octavo import w8a8_utils  # noqa: E402

TABLE = Path(__file__).resolve().parents[2] / "layers" / "w8a8" / "scales.txt"
ROWS = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
TYPES = {"e4m3fn": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2, "int8": torch.int8}


def codes(dtype, *shape, seed):
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("row", ROWS)
def test_scales_mean_what_the_table_says(row):
    sizes, group_size, shape_a, shape_b, said = (field.strip() for field in row.split("|"))
    dtype, *numbers = sizes.split()
    m, padded, n, k = map(int, numbers)
    x, w = codes(TYPES[dtype], padded, k, seed=1), codes(TYPES[dtype], n, k, seed=2)
    sa, sb = (torch.rand(ast.literal_eval(shape), generator=torch.Generator().manual_seed(3)) + 0.5
              for shape in (shape_a, shape_b))
    given = dict(qinput=x, weight=w.t(), out_dtype=torch.float32, scale_a=sa, scale_b=sb, bias=None, output_shape=[m, n],
                 group_size=None if group_size == "-" else int(group_size))
    if "must" in said:
        with pytest.raises(ValueError) as error:
            w8a8_utils.cutlass_w8a8_scaled_mm(**given)
        assert str(error.value) == f"cutlass_w8a8_scaled_mm: {said}"
        return
    a, b = said.split()
    want = octavo.scaled_mm(x[:m], w.t(), sa if a == "tensor" else sa[:m], sb.t() if b.startswith("block") else sb,
                            out_dtype="float32", granularity_a=a, granularity_b=b)
    assert torch.equal(w8a8_utils.cutlass_w8a8_scaled_mm(**given), want)


@pytest.mark.parametrize("per_token", [False, True])
@pytest.mark.parametrize("out_dtype", [torch.float32, torch.bfloat16])
def test_zero_points_with_the_callers_column_sums(out_dtype, per_token):
    """cutlass_scaled_mm_azp: bit for bit octavo.scaled_mm(azp=...), which makes the sums itself."""
    m, n, k = 5, 7, 300
    a, b = codes(torch.int8, m, k, seed=1) * 9, codes(torch.int8, n, k, seed=2).t() * 9
    sa, sb = torch.rand(m, 1) + 0.5, torch.rand(1, n) + 0.5
    bias = torch.randn(n, dtype=out_dtype)
    sums = b.sum(0, dtype=torch.int32)
    azp = torch.tensor([-300, 0, 7, 90, 128], dtype=torch.int32)[:, None] if per_token else torch.tensor([-11], dtype=torch.int32)
    want = octavo.scaled_mm(a, b, sa, sb, bias, out_dtype=out_dtype, granularity_a="token", granularity_b="channel",
                            azp=azp.reshape(-1))
    assert torch.equal(w8a8_utils.cutlass_scaled_mm_azp(a, b, sa, sb, out_dtype, sums, azp, bias), want)
    if not per_token:
        assert torch.equal(w8a8_utils.cutlass_scaled_mm_azp(a, b, sa, sb.t(), out_dtype, sums * azp, None, bias), want)
    for change, sentence in ((dict(azp_adj=sums[:-1]), r"azp_adj must be int32 \[7\]; got torch.int32 \[6\]"),
                             (dict(azp=azp.long()), r"azp must be int32, one element or \[5\]; got torch.int64"),
                             (dict(a=a.float()), r"a and b must be int8 \[M, K\] and \[K, N\]; got torch.float32"),
                             (dict(scale_b=torch.ones(1, 3)), r"scale_b.shape must be one element, \[7\], \[7, 1\] or \[1, 7\]")):
        given = dict(a=a, b=b, scale_a=sa, scale_b=sb, out_dtype=out_dtype, azp_adj=sums, azp=azp)
        with pytest.raises(ValueError, match=f"cutlass_scaled_mm_azp: {sentence}"):
            w8a8_utils.cutlass_scaled_mm_azp(**{**given, **change})
    wide = torch.zeros(1, 131072, dtype=torch.int8)
    with pytest.raises(ValueError, match="cutlass_scaled_mm_azp: a.shape.1. must be at most 131071"):
        w8a8_utils.cutlass_scaled_mm_azp(wide, wide.t(), torch.ones(1), torch.ones(1), out_dtype, torch.zeros(1, dtype=torch.int32))
