# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from Python."""

import json
import os
import pathlib
import signal
import threading

import numpy as np
import pytest

import octavo

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def model(tmp_path, rng):
    path = tmp_path / "model.safetensors"
    safetensors.save_file({f"layer.{i}.weight": rng.standard_normal((64, 96)).astype(np.float32) for i in range(4)}
                          | {"layer.0.bias": np.ones(64, np.float32)}, path)
    return path


@pytest.mark.parametrize("scheme", ["int8-dynamic", "FP8_DYNAMIC", "fp8-block", "llm-int8"])
def test_quantize_open_and_multiply(model, tmp_path, rng, scheme):
    seen, threads = [], set()

    def progress(done, total):
        seen.append((done, total))
        threads.add(threading.get_ident())

    out = tmp_path / "out.safetensors"
    report = octavo.quantize_file(model, out, scheme, progress=progress)
    assert len(report.layers) == 4 and all(r.sqnr_db > 25 for r in report.layers)
    done, totals = zip(*seen)
    assert list(done) == sorted(done) and set(totals) == {done[-1]}
    assert threads == {threading.get_ident()}
    file = octavo.open_checkpoint(out)
    assert len(file.quantized_layers()) == 4 and "layer.0.bias" in file
    weight = file.weight("layer.1")
    original = octavo.open_checkpoint(model).tensor("layer.1.weight")
    direct = octavo.checkpoints.quantize_weight(original, scheme)
    assert np.array_equal(weight.quantized.data.view(np.uint8), direct.quantized.data.view(np.uint8))
    x = rng.standard_normal((3, 96)).astype(np.float32)
    y = octavo.linear(x, weight.pack())
    assert np.array_equal(y, octavo.linear(x, direct.pack()))
    exact = x @ original.T
    assert np.abs(y - exact).max() <= 0.1 * np.abs(exact).max()


def test_the_output_of_an_interrupted_run_is_not_there(model, tmp_path, interruptible):
    out = tmp_path / "out.safetensors"

    def interrupt(done, total):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        octavo.quantize_file(model, out, progress=interrupt)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors"]


def test_an_exception_of_the_callback_comes_through(model, tmp_path):
    def fail(done, total):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        octavo.quantize_file(model, tmp_path / "out.safetensors", progress=fail)


def test_a_malformed_file_gets_a_sentence(tmp_path):
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"\xff" * 64)
    with pytest.raises(RuntimeError, match="bad.safetensors|header"):
        octavo.open_checkpoint(path)


def test_a_weight_in_the_order_of_its_groups_and_experts_in_one_tensor():
    data = pathlib.Path(__file__).parent.parent.parent / "checkpoint" / "data"
    weight = octavo.open_checkpoint(data / "auto-gptq-act-order").weight("model.layers.0.mlp.down_proj")
    x = np.eye(64, dtype=np.float32)
    with pytest.raises(ValueError, match="weight.columns must be applied"):
        weight.pack()
    y = octavo.linear(x[:, weight.columns], weight.pack(gathered=True))
    expected = safetensors.load_file(data / "auto-gptq-act-order.expected.safetensors")["model.layers.0.mlp.down_proj.weight"]
    assert np.array_equal(y.T[::4], expected)
    assert octavo.open_checkpoint(data / "auto-gptq-groups").weight("model.layers.0.mlp.down_proj").columns is None

    file = octavo.open_checkpoint(data / "transformers-fp8-experts")
    assert len(file.quantized_experts()) == 4 and len(file.quantized_layers()) == 24
    experts = file.experts("model.layers.0.mlp.experts.gate_up_proj")
    assert (experts.experts, experts.n, experts.k) == (4, 64, 32)


@pytest.fixture
def folder(tmp_path, rng):
    """A model's folder of two shards."""
    path = tmp_path / "in"
    path.mkdir()
    shards = {f"model-{i + 1:05}-of-00002.safetensors":
              {f"model.layers.{i}.mlp.up_proj.weight": rng.standard_normal((64, 96)).astype(np.float32),
               f"model.layers.{i}.mlp.up_proj.bias": np.ones(64, np.float32)} for i in range(2)}
    for name, tensors in shards.items():
        safetensors.save_file(tensors, path / name)
    weight_map = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (path / "config.json").write_text(json.dumps({"architectures": ["X"], "torch_dtype": "float32"}))
    return path


def test_a_folder_is_estimated_quantized_converted_and_dequantized(folder, tmp_path):
    estimate = octavo.checkpoints.estimate_quantization(folder, "fp8-dynamic")
    report = octavo.quantize_file(folder, tmp_path / "q", "fp8-dynamic", threads=1)
    assert estimate.layers == len(report.layers) == 2 and estimate.seconds > 0 and estimate.memory_bytes > 0
    assert (estimate.bytes_before, estimate.bytes_after) == (report.file_bytes_before, report.file_bytes_after)

    file = octavo.open_checkpoint(tmp_path / "q")
    assert pathlib.Path(file.folder).resolve() == (tmp_path / "q").resolve()
    assert [part.name for part in file.files] == [f"model-{i}-of-00002.safetensors" for i in ("00001", "00002")]
    assert sum(part.nbytes for part in file.files) == file.nbytes
    assert file.declarations[0].where == "config.json"
    assert json.loads(file.declarations[0].text)["quant_method"] == "compressed-tensors"

    converted = octavo.checkpoints.convert_file(tmp_path / "q", tmp_path / "c", "compressed-tensors")
    assert converted.warnings == []  # nothing is lost
    before, after = (octavo.open_checkpoint(tmp_path / name).weight("model.layers.1.mlp.up_proj").quantized for name in "qc")
    assert np.array_equal(before.data.view(np.uint8), after.data.view(np.uint8)) and np.array_equal(before.scale, after.scale)

    octavo.checkpoints.dequantize_file(tmp_path / "q", tmp_path / "f")
    octavo.checkpoints.dequantize_file(tmp_path / "q", tmp_path / "h", np.float16)
    values = [octavo.open_checkpoint(tmp_path / name).tensor("model.layers.1.mlp.up_proj.weight") for name in "fh"]
    assert [v.dtype.name for v in values] == ["float32", "float16"]
    assert np.array_equal(values[0], before.data.astype(np.float32) * before.scale)


def test_what_is_quantized_is_quantized_again_on_request(folder, tmp_path):
    octavo.quantize_file(folder, tmp_path / "q", "int8-dynamic")
    with pytest.raises(ValueError, match="quantize_file: "):
        octavo.quantize_file(tmp_path / "q", tmp_path / "again", "fp8-dynamic")
    assert not (tmp_path / "again").exists()
    assert len(octavo.quantize_file(tmp_path / "q", tmp_path / "again", "fp8-dynamic", requantize=True).layers) == 2


def test_wrong_arguments_of_operations_on_files(folder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"quantize_file: threads must be positive, or 0 for all; got -1"):
        octavo.quantize_file(folder, out, threads=-1)
    with pytest.raises(ValueError, match=r"convert_file: format must be .*; got 'gguf'"):
        octavo.checkpoints.convert_file(folder, out, "gguf")
    with pytest.raises(ValueError, match=r"dequantize_file: dtype must be"):
        octavo.checkpoints.dequantize_file(folder, out, "float31")
    with pytest.raises(ValueError, match=r"estimate_quantization: scheme must be .*; got 'int4'"):
        octavo.checkpoints.estimate_quantization(folder, "int4")
    with pytest.raises(ValueError, match=r"must hold quantised layers"):
        octavo.checkpoints.dequantize_file(folder, out)
    for function in (octavo.checkpoints.estimate_quantization, octavo.open_checkpoint):
        with pytest.raises(FileNotFoundError):
            function(tmp_path / "absent")
    assert not out.exists()


@pytest.mark.parametrize("function", [lambda i, o, p: octavo.checkpoints.convert_file(i, o, "bitsandbytes", p),
                                      lambda i, o, p: octavo.checkpoints.dequantize_file(i, o, None, p)])
def test_ctrl_c_ends_every_operation_on_files(model, tmp_path, interruptible, function):
    quantized, out = tmp_path / "q.safetensors", tmp_path / "out.safetensors"
    octavo.quantize_file(model, quantized)
    with pytest.raises(KeyboardInterrupt):
        function(quantized, out, lambda done, total: os.kill(os.getpid(), signal.SIGINT))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.safetensors", "q.safetensors"]
