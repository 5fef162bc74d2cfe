# SPDX-License-Identifier: Apache-2.0
"""What PyTorch gets wrong, loses, refuses or leaves uninitialised on the CPU, beside Octavo: grouped products.

Each function asserts Octavo's half against a formula in float64 and returns both halves, which are a row
of docs/known-wrong.md. A PyTorch that has mended its half gets a skip that says so.
"""

import pytest

torch = pytest.importorskip("torch", minversion="2.10")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from known_wrong import BF16, F, F32, Found, Kind, code, defect, exact, refusal, small  # noqa: E402
from octavo.torch import functional as OF  # noqa: E402


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


@defect("right", "empty K groups (weight gradients of experts without tokens) are garbage on some GPUs",
        "172439 174314")
def test_empty_groups_of_k():
    a, b, offs = small(16, 24, dtype=BF16), small(24, 8, seed=2, dtype=BF16), ends(8, 8, 24)
    with Marked():
        mine, theirs = octavo.grouped_mm(a, b, offs=offs), F.grouped_mm(a, b, offs=offs)
    wanted = torch.stack([exact(a[:, :8], b[:8]), torch.zeros(16, 8).double(), exact(a[:, 8:], b[8:])])
    assert torch.equal(mine.double(), wanted)
    return Found(not torch.equal(theirs.double(), wanted), "zeros", "zeros")
