# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from Python."""

import os
import pathlib
import signal

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
def test_quantise_open_and_multiply(model, tmp_path, rng, scheme):
    seen = []
    out = tmp_path / "out.safetensors"
    report = octavo.quantize_file(model, out, scheme, progress=lambda done, total: seen.append((done, total)))
    assert len(report.layers) == 4 and all(r.sqnr_db > 25 for r in report.layers)
    assert seen[-1][0] == seen[-1][1] and len(seen) == 5
    file = octavo.open_checkpoint(out)
    assert len(file.quantized_layers()) == 4 and "layer.0.bias" in file
    weight = file.weight("layer.1")
    original = octavo.open_checkpoint(model).tensor("layer.1.weight")
    direct = octavo.quantize_weight(original, scheme)
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
    data = pathlib.Path(__file__).parent.parent / "checkpoint" / "data"
    weight = octavo.open_checkpoint(data / "auto-gptq-act-order").weight("model.layers.0.mlp.down_proj")
    x = np.eye(64, dtype=np.float32)
    with pytest.raises(ValueError, match="weight.columns must be applied"):
        weight.pack()
    y = octavo.linear(x[:, weight.columns], weight.pack(gathered=True))
    expected = safetensors.load_file(data / "auto-gptq-act-order.expected.safetensors")["model.layers.0.mlp.down_proj.weight"]
    assert np.array_equal(y.T[::4], expected)
    assert octavo.open_checkpoint(data / "auto-gptq-groups").weight("model.layers.0.mlp.down_proj").columns is None

    file = octavo.open_checkpoint(data / "transformers-fp8-experts")
    assert len(file.quantized_experts()) == 4 and not file.quantized_layers()
    experts = file.experts("model.layers.0.mlp.experts.gate_up_proj")
    assert (experts.experts, experts.n, experts.k) == (4, 64, 32)
