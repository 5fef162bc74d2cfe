# SPDX-License-Identifier: Apache-2.0
"""GGUF files that llama.cpp's own package writes: blocks, names, values."""

import numpy as np
import pytest

gguf = pytest.importorskip("gguf")

import octavo  # noqa: E402

TYPES = gguf.GGMLQuantizationType
# Types that are read, and where a block has its float16 scale.
READ = {TYPES.Q8_0: 0, TYPES.Q4_0: 0, TYPES.Q5_0: 0, TYPES.IQ4_NL: 0, TYPES.IQ4_XS: 0, TYPES.Q3_K: 108,
        TYPES.Q6_K: 208, TYPES.MXFP4: None}
# Types with minima, which become floats where that is asked for, and where their two float16 are.
MINIMA = {TYPES.Q4_1: 0, TYPES.Q5_1: 0, TYPES.Q2_K: 80, TYPES.Q4_K: 0, TYPES.Q5_K: 0}
REFUSED = (TYPES.IQ2_XS, TYPES.NVFP4, TYPES.TQ2_0)
N, K = 6, 512


def blocks(kind, rng, scale_at, scale_count=1):
    """Rows of blocks with any codes, and scales that are finite."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    raw = rng.integers(0, 256, (N, K // elements, size), dtype=np.uint8)
    if scale_at is None:
        raw[:, :, 0] = rng.integers(0, 250, raw.shape[:2])  # twelve times which is finite
    else:
        scales = (rng.standard_normal((*raw.shape[:2], scale_count)) * 0.01).astype(np.float16)
        raw[:, :, scale_at:scale_at + 2 * scale_count] = scales.view(np.uint8)
    return raw.reshape(N, -1)


def write(path, tensors, architecture="llama", **pairs):
    """A file of {name: (array, type or None)}."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in pairs.items():
        writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for name, (array, kind) in tensors.items():
        writer.add_tensor(name, array, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_blocks_are_codes_times_scales(kind, tmp_path, rng):
    raw = blocks(kind, rng, READ[kind])
    write(tmp_path / "x.gguf", {"blk.0.ffn_down.weight": (raw, kind)})
    weight = octavo.open_checkpoint(tmp_path / "x.gguf").weight("blk.0.ffn_down")
    want = gguf.quants.dequantize(raw, kind)
    assert weight.activation is None
    np.testing.assert_array_equal(octavo.dequantize(weight.quantized), want)


@pytest.mark.parametrize("kind", MINIMA, ids=lambda kind: kind.name)
def test_blocks_with_minima_become_floats_on_request(kind, tmp_path, rng):
    raw = blocks(kind, rng, MINIMA[kind], 2)
    write(tmp_path / "x.gguf", {"a.weight": (raw, kind), "b.weight": (blocks(TYPES.Q8_0, rng, 0), TYPES.Q8_0)})
    octavo.checkpoints.dequantize_file(tmp_path / "x.gguf", tmp_path / "x.safetensors", "float32")
    found = octavo.open_checkpoint(tmp_path / "x.safetensors")["a.weight"]
    np.testing.assert_array_equal(found, gguf.quants.dequantize(raw, kind))
    octavo.checkpoints.dequantize_file(tmp_path / "x.gguf", tmp_path / "half.safetensors", "float16")
    np.testing.assert_array_equal(octavo.open_checkpoint(tmp_path / "half.safetensors")["a.weight"], found.astype(np.float16))
    with pytest.raises(NotImplementedError, match=f"got {kind.name} .octavo dequantize writes floats"):
        octavo.checkpoints.convert_file(tmp_path / "x.gguf", tmp_path / "y.safetensors", "compressed-tensors")
    report = octavo.quantize_file(tmp_path / "x.gguf", tmp_path / "z.safetensors", "int8-dynamic", requantize=True)
    assert [layer.name for layer in report.layers] == ["a", "b"]


@pytest.mark.parametrize("kind", [*MINIMA, *REFUSED], ids=lambda kind: kind.name)
def test_other_blocks_are_refused_by_name(kind, tmp_path, rng):
    write(tmp_path / "x.gguf", {"a.weight": (blocks(kind, rng, 0), kind)})
    opened = octavo.open_checkpoint(tmp_path / "x.gguf")
    assert opened.quantized_layers() == ["a"]
    with pytest.raises(NotImplementedError, match=f"blocks of type Q8_0.*; got {kind.name}$"):
        opened.weight("a")


def test_floats_and_key_values(tmp_path, rng):
    x = rng.standard_normal((3, 5, 8)).astype(np.float32)
    write(tmp_path / "x.gguf", {"a": (x, None), "b": (x.astype(np.float16), None)}, name="a model", tokens=["a", "b"],
          number=7, flag=True)
    opened = octavo.open_checkpoint(tmp_path / "x.gguf")
    np.testing.assert_array_equal(opened["a"], x)
    np.testing.assert_array_equal(opened["b"], x.astype(np.float16))
    assert opened.metadata == {"general.architecture": "llama", "name": "a model", "tokens": "[2 x string]",
                               "number": "7", "flag": "true"}


def test_a_layer_multiplies(tmp_path, rng):
    raw = blocks(TYPES.Q8_0, rng, 0)
    write(tmp_path / "x.gguf", {"a.weight": (raw, TYPES.Q8_0)})
    weight = octavo.open_checkpoint(tmp_path / "x.gguf").weight("a")
    x = rng.integers(-8, 9, (4, K)).astype(np.float32)
    got = octavo.linear(x, weight.pack(), out_dtype="float32")
    # Powers of two as scales would be exact; these are held to the sum of magnitudes.
    want = x.astype(np.float64) @ gguf.quants.dequantize(raw, TYPES.Q8_0).astype(np.float64).T
    bound = K * np.finfo(np.float32).eps * (np.abs(x) @ np.abs(gguf.quants.dequantize(raw, TYPES.Q8_0)).T)
    assert (np.abs(got - want) <= bound).all()
