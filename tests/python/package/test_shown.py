# SPDX-License-Identifier: Apache-2.0
"""What a shell and a notebook show of every public object, and what its properties say; safetensors' way to read a file."""

import inspect
import re

import ml_dtypes
import numpy as np
import pytest

import octavo
from octavo import _octavo


def quantized(kind):
    x = np.linspace(-2, 2, 96, dtype=np.float32).reshape(6, 16)
    if kind == "numpy":
        return octavo.quantize(x)
    return octavo.quantize(pytest.importorskip("torch").from_numpy(x), "uint8", "group4", azp=True)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    weight = octavo.checkpoints.quantize_weight(rng.standard_normal((8, 16), np.float32))
    octavo.checkpoints.write_checkpoint(tmp_path / "q.safetensors", {"fc": weight}, {"fc.bias": np.zeros(8, ml_dtypes.bfloat16)})
    octavo.checkpoints.dequantize_file(tmp_path / "q.safetensors", tmp_path / "f.safetensors", "float32")
    return tmp_path


def objects(folder):
    """One of each public class of the extension module."""
    x = np.ones((4, 16), np.float32)
    file = octavo.open_checkpoint(folder / "q.safetensors")
    experts = octavo.moe.pack_experts(np.ones((2, 8, 4), np.float32)), octavo.moe.pack_experts(np.ones((2, 4, 4), np.float32))
    explanation = octavo.explain(x, x.T)
    estimate = octavo.checkpoints.estimate_quantization(folder / "f.safetensors")
    report = octavo.quantize_file(folder / "f.safetensors", folder / "again.safetensors")
    made = [octavo.quantize(x), octavo.quantizers.compute_scale(x), octavo.pack(x.T), experts[0], file, file.files[0], file.declarations[0],
            file.weight("fc"), explanation, explanation.candidates[0], estimate, report, report.layers[0], octavo.machine.backends()[0],
            octavo.UNDEFINED, octavo.moe.explain_fused_experts(x[:, :4], *experts, np.ones((4, 1), np.float32), np.zeros((4, 1), np.int32))]
    return made


@pytest.mark.filterwarnings("ignore")
def test_every_object_shows_itself(folder):
    made = objects(folder)
    classes = {value for name, value in vars(_octavo).items() if inspect.isclass(value) and "Parallel" not in name and name[0] != "_"}
    assert classes == {type(value) for value in made}, "a class without a row"
    for value in made:
        assert not re.search(r"object at 0x", repr(value)), type(value)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_properties_of_a_quantised_matrix(kind):
    q = quantized(kind)
    parts = [part for part in (q.data, q.scale, q.azp) if part is not None]
    assert q.shape == tuple(q.data.shape) == (6, 16) and q.T.shape == (16, 6)
    assert q.dtype == q.data.dtype and q.device == "cpu" and q.nbytes == sum(part.nbytes for part in parts)
    got, want = q.dequantize(), octavo.dequantize(q)
    assert type(got) is type(want) and (np.asarray(got) == np.asarray(want)).all()
    assert q.dequantize("bfloat16").dtype == octavo.dequantize(q, "bfloat16").dtype
    assert (q.zero_point is None) == (q.azp is None)
    again = octavo.Quantized(q.data, q.scale, rows=q.rows, cols=q.cols, zero_point=q.azp)
    assert (np.asarray(again.dequantize()) == np.asarray(want)).all()
    with pytest.raises(ValueError, match="Quantized: zero_point must be None beside azp"):
        octavo.Quantized(q.data, q.scale, q.scale, zero_point=q.scale)
    scales = octavo.quantizers.compute_scale(np.ones((2, 3), np.float32))
    for name in ("shape", "dtype", "device"):
        with pytest.raises(ValueError, match=f"Quantized.{name}: data must be codes .*; got None"):
            getattr(scales, name)
    assert scales.nbytes == scales.scale.nbytes


def test_packed_weights_say_their_shapes_and_go_to_devices_by_name():
    packed, experts = octavo.pack(np.ones((16, 8), np.float32)), octavo.moe.pack_experts(np.ones((2, 8, 4), np.float32))
    assert packed.shape == (packed.k, packed.n) == (16, 8) and experts.shape == (2, 8, 4)
    devices = ["cpu", None, np.ones(1, np.float32)]
    try:
        import torch
    except ImportError:
        torch = None
    if torch is not None:
        devices += [torch.device("cpu"), torch.ones(1)]
    for weights in (packed, experts):
        for device in devices:
            assert weights.to(device) is weights
        for device, error in (("gpu", RuntimeError), ("meta", RuntimeError), ("cuda:x", ValueError), (3, ValueError)):
            with pytest.raises((error, NotImplementedError), match="to: like"):
                weights.to(device)
        if torch is not None and not torch.cuda.is_available():
            for device in ("cuda", torch.device("cuda:1")):
                with pytest.raises((RuntimeError, NotImplementedError), match="to: like.device must be cpu"):
                    weights.to(device)


@pytest.mark.parametrize("framework", ["np", "pt"])
def test_a_checkpoint_is_read_as_by_safe_open(folder, framework):
    safe_open = pytest.importorskip("safetensors").safe_open
    if framework == "pt":
        torch = pytest.importorskip("torch")
    with octavo.open_checkpoint(folder / "q.safetensors", framework) as file:
        assert list(file) == list(file.keys()) and len(file) == 3 and "fc.bias" in file and file.framework == framework
        for name in file:
            assert type(file[name]) is type(file.tensor(name)) is type(file.get_tensor(name))
        if framework == "pt":
            with safe_open(folder / "q.safetensors", framework="pt") as theirs:
                assert sorted(theirs.keys()) == sorted(file)
                for name in file:
                    assert torch.equal(theirs.get_tensor(name), file[name]) and theirs.get_tensor(name).dtype == file[name].dtype
        with pytest.raises(KeyError, match="Checkpoint: name must be that of a tensor; got 'fc.wieght'"):
            file["fc.wieght"]
    with pytest.raises(ValueError, match='open_checkpoint: framework must be "np" .* or "pt"'):
        octavo.open_checkpoint(folder / "q.safetensors", "tf")


def test_tables_in_notebooks():
    torch = pytest.importorskip("torch")
    import octavo.torch
    from octavo.torch.calibration._evaluate import Evaluation

    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    report = octavo.torch.quantize_(model, {"0": "int8-dynamic", "1": None})
    with octavo.torch.override() as handle:
        torch._int_mm(torch.ones(17, 8, dtype=torch.int8), torch.ones(8, 8, dtype=torch.int8))
    evaluation = Evaluation(3, 0.5, None, None, None, None, None, None)
    for shown in (report, handle, evaluation):
        assert repr(shown) == str(shown) and shown._repr_html_().startswith("<pre>")
    assert "stays in float: scheme has None for &quot;1&quot;" in report._repr_html_()
