# SPDX-License-Identifier: Apache-2.0
"""From a float model to a quantised folder by way of a calibration file: SmoothQuant, GPTQ, static scales."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors")

import safetensors.numpy  # noqa: E402
import small_models as small  # noqa: E402
from test_calibration import planted  # noqa: E402

import octavo  # noqa: E402
import octavo.torch  # noqa: E402

DAMP = 0.01


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


class Case:
    """A float model in a folder, and its calibration in a file."""

    def __init__(self, model, folder, hessian=True):
        self.model, self.folder = model, folder
        self.ids = small.tokens(rows=8, length=48)
        model.save_pretrained(folder / "float")
        self.found = octavo.torch.calibrate(model, [self.ids[:4], self.ids[4:]], hessian=hessian)
        self.found.save(folder / "calibration")

    def quantized(self, name, scheme="int8-dynamic", **options):
        report = octavo.quantize_file(self.folder / "float", self.folder / name, scheme,
                                      calibration=self.folder / "calibration" if options else None, experts="separate", **options)
        return report, self.folder / name

    def drift(self, model):
        """1 - cosine of all logits and the float model's."""
        return 1 - small.cosine(small.outputs(model, self.ids), small.outputs(self.model, self.ids))


@pytest.mark.parametrize("scheme", ["int8-dynamic", "llm-int8"])
@pytest.mark.parametrize("maker", [small.llama, small.qwen2, small.bert, small.gpt2], ids=lambda maker: maker.__name__)
def test_gptq_is_nearer_to_the_float_model_in_every_layer(maker, scheme, tmp_path):
    """Every layer's input is correlated (at most 384 tokens fill 128 to 512 columns), so that no layer may be worse than
    rounding to nearest; the models' logits follow."""
    if maker is small.gpt2 and scheme != "llm-int8":
        pytest.skip("other schemes have no Conv1D")
    case = Case(small.made(maker), tmp_path)
    report, gptq = case.quantized("gptq", scheme, gptq=True)
    _, nearest = case.quantized("nearest", scheme)
    assert len(report.layers) == len(case.found)
    assert all(row.output_error < row.nearest_output_error for row in report.layers)
    near, far = (case.drift(octavo.torch.from_pretrained(folder)) for folder in (gptq, nearest))
    assert near < far


def distance(codes, scale, weight, hessian):
    """How far codes are from those of GPTQ in units of a code, 0.5 being a tie: algorithm 1 of arXiv 2210.17323 column by
    column in float64. The rest of a row follows from the codes as they are, so that one tie does not count twice."""
    h = hessian.astype(np.float64)
    live = np.diag(h) > 0
    h[~live] = h[:, ~live] = 0
    mean = np.diag(h)[live].mean()
    h[~live, ~live] = mean
    u = np.linalg.cholesky(np.linalg.inv(h + DAMP * mean * np.eye(len(h)))).T
    w, worst = weight.astype(np.float64), 0.0
    for k in range(len(h)):
        worst = max(worst, np.abs(np.clip(w[:, k] / scale, -127, 127) - codes[:, k]).max())
        w[:, k:] -= np.outer((w[:, k] - codes[:, k] * scale) / u[k, k], u[k, k:])
    return worst


def test_gptq_is_the_algorithm_in_numpy(tmp_path):
    case = Case(small.made(small.llama), tmp_path)
    _, folder = case.quantized("gptq", gptq=True)
    made = safetensors.numpy.load_file(folder / "model.safetensors")
    for name, row in case.found.items():
        codes, scale = (made[f"{name}.{part}"].astype(np.float64) for part in ("weight", "weight_scale"))
        k = codes.shape[1]
        # float32 weights and quotients (2^-24 of 127 steps each); K float64 steps of 2^-53, magnified by the condition of
        # the damped Hessian, at most (K + damp) / damp.
        tie = 127 * (2 * 2**-24 + k * 2**-53 * (k / DAMP + 1))
        weight = case.model.get_submodule(name).weight.detach().numpy()
        assert distance(codes, scale.ravel(), weight, row.hessian.numpy()) <= 0.5 + tie, name


def test_smoothing_a_file_is_smoothing_the_model(tmp_path):
    """The same bits as smooth_ and quantize_, and a layer behind an outlier channel gains a bit of precision (6 dB)."""
    case = Case(planted(), tmp_path, hessian=False)
    report, folder = case.quantized("smooth", smoothquant=True, static_scales=True)
    assert len(report.smoothed_norms) == 4 and len(report.unsmoothed_layers) == 4
    rough = octavo.torch.from_pretrained(case.quantized("rough", static_scales=True)[1])
    loaded = octavo.torch.from_pretrained(folder)
    assert case.drift(loaded) < case.drift(rough)
    drifts = [next(row.sqnr_db for row in octavo.torch.evaluate(model, base, case.ids).layers
                   if row.name == "model.layers.0.self_attn.q_proj")
              for model, base in ((loaded, _smoothed(case)), (rough, case.model))]
    assert drifts[0] > drifts[1] + 6
    model = _smoothed(case)
    found = octavo.torch.smooth_(planted(), case.found)[0]
    octavo.torch.quantize_(model, "int8-dynamic", calibration=found)
    assert torch.equal(small.outputs(model, case.ids), small.outputs(loaded, case.ids))


def _smoothed(case):
    model = planted()
    octavo.torch.smooth_(model, case.found)
    return model


def test_alpha_makes_factors_anew(tmp_path):
    case = Case(small.made(small.llama), tmp_path, hessian=False)
    for alpha in (0.25, 0.75):
        _, folder = case.quantized(f"alpha{alpha}", smoothquant=alpha)
        made = safetensors.numpy.load_file(folder / "model.safetensors")
        model = small.made(small.llama)
        octavo.torch.smooth_(model, octavo.torch.calibrate(model, [case.ids[:4], case.ids[4:]], alpha=alpha))
        for layer in ("self_attn.k_proj", "mlp.up_proj"):
            name = f"model.layers.1.{layer}"
            codes, scale = (torch.from_numpy(made[f"{name}.{part}"]) for part in ("weight", "weight_scale"))
            want = model.get_submodule(name).weight.detach()
            # Powers in float64 and in float32 differ by some 2^-24 each, and so do scales; 127 steps of them.
            assert float(((codes * scale - want) / scale).abs().max()) <= 0.5 + 127 * 2**-20


@pytest.mark.parametrize("options", [dict(smoothquant=True), dict(gptq=True), dict(smoothquant=True, gptq=True),
                                     dict(static_scales=True, smoothquant=True)], ids=str)
def test_plain_transformers_reads_what_is_written(options, tmp_path):
    pytest.importorskip("compressed_tensors")
    case = Case(planted(), tmp_path)
    _, folder = case.quantized("out", **options)
    ours = octavo.torch.from_pretrained(folder)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    rough = octavo.torch.from_pretrained(case.quantized("rough")[1])
    # Both quantise activations to 8 bits, with divisors of 127 and 127.5: as far apart as either is from floats.
    assert 1 - small.cosine(small.outputs(ours, case.ids), small.outputs(theirs, case.ids)) <= 2 * max(
        case.drift(ours), case.drift(theirs), case.drift(rough))


def test_outlier_columns_come_from_the_file(tmp_path):
    case = Case(planted(), tmp_path, hessian=False)
    octavo.quantize_file(tmp_path / "float", tmp_path / "out", "llm-int8", calibration=tmp_path / "calibration", threshold=0.0)
    model = octavo.torch.from_pretrained(tmp_path / "out")
    for name, row in case.found.items():
        columns = model.get_submodule(name)._rule["outlier_columns"]
        assert ([] if columns is None else list(columns)) == row.outlier_columns
    assert any(row.outlier_columns for row in case.found.values())


def test_a_dry_run_knows_the_memory_of_gptq(tmp_path):
    case = Case(small.made(small.llama), tmp_path)
    path = case.folder / "float"
    calibrated = octavo.checkpoints.estimate_quantization(path, calibration=tmp_path / "calibration", gptq=True)
    assert calibrated.memory_bytes - octavo.checkpoints.estimate_quantization(path).memory_bytes >= 8 * 256 * 256


def test_calibrations_that_do_not_fit_a_folder_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    llama, qwen = Case(small.made(small.llama), tmp_path / "a"), Case(small.made(small.gpt2), tmp_path / "b", hessian=False)
    with pytest.raises(ValueError, match="must be of this model; got layer 'transformer.h.0.attn.c_attn'"):
        octavo.quantize_file(tmp_path / "a/float", tmp_path / "out", calibration=tmp_path / "b/calibration", smoothquant=True)
    with pytest.raises(ValueError, match="must have layer 'model.layers.0.mlp.down_proj'"):
        octavo.quantize_file(tmp_path / "a/float", tmp_path / "out", calibration=tmp_path / "b/calibration", static_scales=True)
    with pytest.raises(ValueError, match="must have the Hessian of layer"):
        qwen.quantized("out", "llm-int8", gptq=True)
    with pytest.raises(ValueError, match="smooth_alpha must be in 0..1; got 2"):
        llama.quantized("out", smoothquant=2.0)
    with pytest.raises(FileNotFoundError):
        octavo.quantize_file(tmp_path / "a/float", tmp_path / "out", calibration=tmp_path / "none", gptq=True)
    assert not (tmp_path / "out").exists()
