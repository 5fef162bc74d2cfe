# SPDX-License-Identifier: Apache-2.0
"""octavo.attention over torch tensors and arrays: PyTorch's formula, graphs, pages, refusals."""

import numpy
import pytest

torch = pytest.importorskip("torch")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402


CODES = ["int8", "float8_e4m3fn"]


def tokens(batch, length, heads, depth, seed, dtype="int8"):
    """Codes and scales [B, L, H, ...] of random tokens, and what they stand for."""
    draw = torch.Generator().manual_seed(seed)
    q = octavo.quantize(torch.randn(batch * length * heads, depth, generator=draw), dtype)
    codes, scales = q.data.view(batch, length, heads, depth), q.scale.view(batch, length, heads)
    return codes, scales, codes.float() * scales[..., None]


def queries(batch, count, heads, depth, dtype=torch.float32):
    return torch.randn(batch, count, heads, depth, generator=torch.Generator().manual_seed(9)).to(dtype)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("window", [0, 7])
def test_it_is_pytorchs_formula(window, dtype):
    keys, values = tokens(2, 40, 2, 64, 1, dtype), tokens(2, 40, 2, 64, 2, dtype)
    q = queries(2, 5, 6, 64)
    got = octavo.attention.attention(q, *keys[:2], *values[:2], window=window)
    coded = octavo.quantize(q.reshape(-1, 64))
    exact = (coded.data.double() * coded.scale.double()).view_as(q) if dtype == "int8" else q.double()  # what is multiplied
    rows, columns = torch.arange(35, 40)[:, None], torch.arange(40)
    seen = (columns <= rows) & (columns > rows - (window or 40))
    want = torch.nn.functional.scaled_dot_product_attention(
        exact.transpose(1, 2), keys[2].double().transpose(1, 2), values[2].double().transpose(1, 2), seen,
        enable_gqa=True).transpose(1, 2)
    # 15-bit weights of 40 tokens: half a step of the largest weight for each; the rest are roundings of float32. Those of
    # float products: 9 of each of 64 terms of a score, which count twice, and one of each of 40 tokens.
    largest = values[2].abs().max()
    terms = (exact.abs().amax((0, 1, 2)) * keys[2].abs().amax((0, 1, 2))).sum() / 8
    roundings, coded_weights = (64, 40) if dtype == "int8" else (64 + 2 * 9 * terms + 41, 0)
    assert (got - want).abs().max() <= (coded_weights / 65534 + roundings * torch.finfo(torch.float32).eps) * largest


def test_arrays_and_lists_are_taken():
    keys, values = tokens(1, 8, 1, 16, 1), tokens(1, 8, 1, 16, 2)
    q = queries(1, 1, 1, 16)
    want = octavo.attention.attention(q, *keys[:2], *values[:2], lengths=torch.tensor([5]))
    got = octavo.attention.attention(q.numpy(), *(x.numpy() for x in (*keys[:2], *values[:2])), lengths=[5])
    assert isinstance(got, numpy.ndarray) and numpy.array_equal(got, want.numpy())
    rows = numpy.random.default_rng(1).standard_normal((8, 16), numpy.float32)
    fp8 = octavo.quantize(rows, "float8_e4m3fn")  # ml_dtypes'
    whole = fp8.data.reshape(1, 8, 1, 16), fp8.scale.reshape(1, 8, 1)
    torchs = torch.from_numpy(whole[0].view(numpy.uint8)).view(torch.float8_e4m3fn), torch.from_numpy(whole[1])
    assert numpy.array_equal(octavo.attention.attention(q.numpy(), *whole, *whole), octavo.attention.attention(q, *torchs, *torchs).numpy())


@pytest.mark.parametrize("dtype", CODES)
def test_it_goes_into_a_graph(dtype):
    torch._dynamo.reset()
    keys, values = tokens(2, 40, 2, 64, 1, dtype), tokens(2, 40, 2, 64, 2, dtype)
    lengths = torch.tensor([40, 33])

    def attend(q):
        return octavo.attention.attention(q * 2, *keys[:2], *values[:2], lengths=lengths, window=9) + 1

    q = queries(2, 1, 4, 64, torch.bfloat16)
    assert torch.equal(torch.compile(attend, fullgraph=True, backend="aot_eager")(q), attend(q))


@pytest.mark.parametrize("dtype", CODES)
def test_a_batch_has_the_bits_of_its_rows(dtype):
    keys, values = tokens(3, 300, 2, 64, 1, dtype), tokens(3, 300, 2, 64, 2, dtype)
    q = queries(3, 4, 4, 64, torch.bfloat16)
    whole = octavo.attention.attention(q, *keys[:2], *values[:2])
    for b in range(3):
        part = slice(b, b + 1)
        alone = octavo.attention.attention(q[part], *(x[part] for x in (*keys[:2], *values[:2])))
        assert torch.equal(alone, whole[part])


def test_what_is_refused():
    keys, values = tokens(1, 8, 1, 16, 1), tokens(1, 8, 1, 16, 2)
    q = queries(1, 1, 1, 16)
    with pytest.raises(ValueError, match=r"attention: lengths\[0\] must be in \[0, 8\]; got 9"):
        octavo.attention.attention(q, *keys[:2], *values[:2], lengths=torch.tensor([9]))
    with pytest.raises(ValueError, match=r"attention: block_table\[0, 0\] must be in \[0, 1\); got 3"):
        octavo.attention.attention(q, *keys[:2], *values[:2], block_table=torch.tensor([[3]]))
    with pytest.raises(NotImplementedError, match="attention: tensors must come without arguments that need a gradient"):
        octavo.attention.attention(q.requires_grad_(), *keys[:2], *values[:2])
