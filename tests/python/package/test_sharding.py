# SPDX-License-Identifier: Apache-2.0
"""Weights in parts, and slices of quantised matrices that begin inside a cell of their scales."""

import copy
import pickle

import numpy as np
import pytest

import octavo

AXES = ("columns", "rows")


def same(a, b):
    """Two octavo.Quantized, bit for bit."""
    for name in ("data", "scale", "azp"):
        first, second = getattr(a, name), getattr(b, name)
        assert (first is None) == (second is None)
        assert first is None or first.tobytes() == second.tobytes() and first.shape == second.shape
    assert (a.rows, a.cols, a.row0, a.col0) == (b.rows, b.cols, b.row0, b.col0)


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_parts_are_those_of_the_file_and_come_together_again(scheme, axis, world, rng, tmp_path):
    weights = {name: octavo.checkpoints.quantize_weight(rng.standard_normal((n, 384), np.float32), scheme)
               for name, n in (("q", 300), ("k", 64))}
    octavo.checkpoints.write_checkpoint(tmp_path / "x.safetensors", weights)
    file = octavo.open_checkpoint(tmp_path / "x.safetensors")
    parts = [octavo.sharding.shard(weights["q"], axis, rank, world) for rank in range(world)]
    same(octavo.sharding.unshard(parts, axis).quantized, weights["q"].quantized)
    end = 0
    for rank, part in enumerate(parts):
        begin, end = octavo.sharding.shard_range(weights["q"], axis, rank, world)
        assert part.quantized.data.shape == ((end - begin, 384) if axis == "columns" else (300, end - begin))
        same(octavo.sharding.read_shard(file, "q", axis, rank, world).quantized, part.quantized)
        both = octavo.checkpoints.fuse([part, octavo.sharding.shard(weights["k"], axis, rank, world)])
        same(octavo.sharding.read_shard(file, ["q", "k"], axis, rank, world).quantized, both.quantized)
    assert end == (300 if axis == "columns" else 384)


def test_columns_of_a_part_are_those_of_the_product(rng):
    weight = octavo.checkpoints.quantize_weight(rng.standard_normal((200, 256), np.float32), "fp8-block")
    x = rng.standard_normal((3, 256), np.float32)
    y = octavo.linear(x, weight.pack())
    parts = [octavo.linear(x, octavo.sharding.shard(weight, "columns", rank, 3).pack()) for rank in range(3)]
    assert np.concatenate(parts, axis=1).tobytes() == y.tobytes()


def test_what_is_no_part_is_refused(rng):
    weight = octavo.checkpoints.quantize_weight(rng.standard_normal((8, 8), np.float32))
    with pytest.raises(ValueError, match=r"shard: axis must be \"columns\" \(N\) or \"rows\" \(K\); got 'N'"):
        octavo.sharding.shard(weight, "N", 0, 1)
    with pytest.raises(ValueError, match=r"shard: rank must be in \[0, world = 2\); got 2"):
        octavo.sharding.shard(weight, "rows", 2, 2)
    with pytest.raises(ValueError, match="unshard: parts must have at least one entry; got none"):
        octavo.sharding.unshard([], "rows")


@pytest.fixture
def cut(rng):
    """A matrix in blocks of 16 x 32, and its part [5:, 7:] as an octavo.Quantized of its own."""
    whole = octavo.quantize(rng.standard_normal((40, 70), np.float32), "int8", "block16x32", azp=True, widen=True)
    part = octavo.Quantized(np.ascontiguousarray(whole.data[5:, 7:]), whole.scale, whole.azp, 16, 32, 5, 7)
    return whole, part


def test_a_slice_begins_inside_a_cell(cut, rng):
    whole, part = cut
    assert octavo.dequantize(part).tobytes() == octavo.dequantize(whole)[5:, 7:].tobytes()
    assert "from 5, 7 on" in repr(part)
    same(pickle.loads(pickle.dumps(part)), part)
    same(copy.copy(part), part)
    assert (part.T.rows, part.T.cols, part.T.row0, part.T.col0) == (32, 16, 7, 5)
    x = rng.integers(-128, 128, (3, 35), np.int8)
    packed = octavo.pack(part)
    back = packed.unpack()
    assert (back.rows, back.cols, back.row0, back.col0) == (16, 32, 5, 7)
    y = octavo.scaled_mm(x, part, out_dtype=np.float32)
    assert y.tobytes() == octavo.scaled_mm(x, packed, out_dtype=np.float32).tobytes()
    again = pickle.loads(pickle.dumps(packed))
    assert y.tobytes() == octavo.scaled_mm(x, again, out_dtype=np.float32).tobytes()
    x, values = x.astype(np.float64), octavo.dequantize(part).astype(np.float64)
    steps = (35 + 4 + 8) * 2.0**-24  # section 9: K, the cells along it, the epilogue
    assert (np.abs(y - x @ values) <= steps / (1 - steps) * (np.abs(x) @ np.abs(values))).all()


def test_torch_refuses_a_slice_that_it_cannot_say(cut):
    torch = pytest.importorskip("torch")
    import octavo.torch
    _, part = cut
    tensors = octavo.Quantized(torch.from_numpy(part.data), torch.from_numpy(part.scale), torch.from_numpy(part.azp),
                               16, 32, 5, 7)
    with pytest.raises(NotImplementedError, match=r"a slice must begin with a cell of its scales .* got one that begins at \(5, 7\)"):
        octavo.scaled_mm(torch.zeros(3, 35, dtype=torch.int8), tensors)
    packed = octavo.pack(tensors)
    assert octavo.scaled_mm(torch.zeros(3, 35, dtype=torch.int8), packed).shape == (3, 63)


def test_a_layer_refuses_a_slice_that_its_state_cannot_say(rng):
    torch = pytest.importorskip("torch")
    from octavo.torch import nn
    weight = octavo.checkpoints.quantize_weight(rng.standard_normal((160, 64), np.float32), "fp8-block")
    both = octavo.checkpoints.fuse([octavo.sharding.shard(weight, "columns", 1, 2)])
    nn.BlockFp8Linear.from_weight(both, None, torch.float32)
    inside = [octavo.sharding.shard(octavo.sharding.shard(weight, "columns", 0, 2), "columns", rank, 3) for rank in range(3)]
    begins = [part for part in inside if part.quantized.row0]
    assert begins, "no part begins inside a block"
    with pytest.raises(ValueError, match=r"from_weight: weight must begin with a cell of its scales; got one that begins at"):
        nn.BlockFp8Linear.from_weight(begins[0], None, torch.float32)
