# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in bitsandbytes' layout: by hand, by the package itself, and with calibrated outlier columns."""

import json

import numpy as np
import pytest

import octavo

safetensors = pytest.importorskip("safetensors.numpy")


def layer(rng, n=40, k=96):
    """One layer's tensors as bitsandbytes saves them."""
    return {"m.weight": rng.integers(-127, 128, (n, k), dtype=np.int8),
            "m.SCB": rng.uniform(0.5, 3, n).astype(np.float32),
            "m.weight_format": np.array(0, np.uint8),
            "m.bias": rng.standard_normal(n).astype(np.float32)}


def written_again(path, tmp_path):
    file = octavo.open_checkpoint(path)
    again = tmp_path / "again.safetensors"
    octavo.checkpoints.write_checkpoint(again, {name: file.weight(name) for name in file.quantized_layers()},
                            {key: file.tensor(key) for key in file.keys() if key.endswith(".bias")},
                            file.metadata)
    return safetensors.load_file(again)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and found[name].shape == tensor.shape, name
        assert found[name].tobytes() == tensor.tobytes(), name


def test_a_file_is_read_and_written_without_a_bit_changed(tmp_path, rng):
    tensors = layer(rng)
    safetensors.save_file(tensors, tmp_path / "bnb.safetensors")
    weight = octavo.open_checkpoint(tmp_path / "bnb.safetensors").weight("m")
    assert weight.scheme == "llm-int8" and weight.activation["outlier_threshold"] == 6
    assert np.array_equal(weight.quantized.scale[:, 0], tensors["m.SCB"] / np.float32(127))
    assert_same(written_again(tmp_path / "bnb.safetensors", tmp_path), tensors)


def test_what_bitsandbytes_saves_and_loads(tmp_path):
    torch = pytest.importorskip("torch")
    bitsandbytes = pytest.importorskip("bitsandbytes")
    from safetensors.torch import save_file

    def make():
        return bitsandbytes.nn.Linear8bitLt(96, 40, has_fp16_weights=False, threshold=6.0)

    torch.manual_seed(0)
    quantized = make().to("cpu")
    tensors = {"m." + key: value.contiguous() for key, value in quantized.state_dict().items()}
    assert {"m.weight", "m.SCB", "m.weight_format", "m.bias"} == tensors.keys()
    save_file(tensors, tmp_path / "bnb.safetensors")
    found = written_again(tmp_path / "bnb.safetensors", tmp_path)
    assert_same(found, {name: tensor.numpy() for name, tensor in tensors.items()})
    other = make().to("cpu")
    other.load_state_dict({name[2:]: torch.from_numpy(tensor) for name, tensor in found.items()})
    x = torch.randn(3, 96)
    with torch.no_grad():
        assert torch.equal(other.eval()(x), quantized.eval()(x))


@pytest.fixture
def model(tmp_path, rng):
    path = tmp_path / "model.safetensors"
    safetensors.save_file({f"m.{name}.weight": rng.standard_normal((24, 48)).astype(np.float32)
                           for name in ("q", "k")}, path)
    return path


def test_outlier_columns_are_written_by_layer(model, tmp_path):
    out = tmp_path / "out.safetensors"
    octavo.quantize_file(model, out, "llm-int8", outlier_columns={"m.q": np.array([3, 40])}, threshold=2.5,
                         whole_columns=True)
    file = octavo.open_checkpoint(out)
    config = json.loads(file.metadata["quantization_config"])
    assert config["llm_int8_outlier_columns"] == {"m.q": [3, 40]}
    assert config["llm_int8_threshold"] == 2.5 and config["llm_int8_whole_columns"] is True
    assert file.weight("m.k").activation["outlier_threshold"] == 2.5
    again = tmp_path / "again.safetensors"
    octavo.checkpoints.write_checkpoint(again, {"m.q": file.weight("m.q"), "m.k": file.weight("m.k")})
    assert json.loads(octavo.open_checkpoint(again).metadata["quantization_config"]) == config


@pytest.mark.parametrize(("options", "sentence"), [
    ({"outlier_columns": {"m.p": [1]}}, "must name layers that are quantised; got 'm.p' \\(nearest: 'm\\."),
    ({"outlier_columns": {"m.q": [48]}}, "outlier_columns of layer 'm.q' must ascend in \\[0, 48\\); got 48"),
    ({"threshold": -1.0}, "outlier_threshold must be a finite number not below 0; got -1"),
    ({"scheme": "fp8-dynamic", "threshold": 6.0}, "scheme must be llm-int8 for outlier_columns"),
])
def test_outlier_columns_that_are_wrong(model, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        octavo.quantize_file(model, tmp_path / "out.safetensors", **{"scheme": "llm-int8", **options})
    assert not (tmp_path / "out.safetensors").exists()


def test_write_checkpoint_refuses_a_mixture(tmp_path, rng):
    w = rng.standard_normal((4, 8)).astype(np.float32)
    layers = {"a": octavo.checkpoints.quantize_weight(w, "llm-int8"), "b": octavo.checkpoints.quantize_weight(w, "int8-dynamic")}
    with pytest.raises(ValueError, match="layer 'b'.scheme must be that of the other layers, llm-int8"):
        octavo.checkpoints.write_checkpoint(tmp_path / "x.safetensors", layers)
    with pytest.raises(ValueError, match="layers must have at least one; got none"):
        octavo.checkpoints.write_checkpoint(tmp_path / "x.safetensors", {})
    with pytest.raises(OSError):
        octavo.checkpoints.write_checkpoint(tmp_path / "none" / "x.safetensors", {"a": layers["a"]})


def test_write_checkpoint_takes_tensors_of_any_stride(tmp_path, rng):
    w = rng.standard_normal((4, 8)).astype(np.float32)
    octavo.checkpoints.write_checkpoint(tmp_path / "x.safetensors", {"a": octavo.checkpoints.quantize_weight(w, "fp8-dynamic")},
                            {"b.weight": w.T, "c": np.float32(3)}, {"format": "pt"})
    file = octavo.open_checkpoint(tmp_path / "x.safetensors")
    assert np.array_equal(file.tensor("b.weight"), w.T) and file.tensor("c") == 3
    config = json.loads(file.metadata["quantization_config"])
    assert config["ignore"] == ["b"] and file.metadata["format"] == "pt"
