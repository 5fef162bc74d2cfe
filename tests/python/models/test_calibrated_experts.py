# SPDX-License-Identifier: Apache-2.0
"""Calibration of a mixture's experts, which are stacked in the model and may lie apart in its files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402
from test_calibrated_files import Case  # noqa: E402
from test_stacked_experts import made  # noqa: E402

import octavo  # noqa: E402
import octavo.torch  # noqa: E402

APART = (small.mixtral, small.qwen3_moe, small.deepseek_v3)  # experts of the files
STACKED = (small.gpt_oss, small.llama4)
every_mixture = pytest.mark.parametrize("maker", [*APART, *STACKED], ids=lambda maker: maker.__name__)


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def routed(maker):
    """A model whose router sends tokens to every expert: biases that all tokens share are small."""
    model = made(maker)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter *= 0 if "router" in name else 0.1
    return model


def modules(model):
    return {name: module for name, module in model.named_modules() if name.endswith(".experts")}


@torch.no_grad()
def inputs_of_experts(model, batches):
    """By expert "x.experts.3": its rows, and what it makes of them between its products."""
    calls, hooks = {}, []
    for name, module in modules(model).items():
        hooks.append(module.register_forward_pre_hook(lambda _, given, name=name: calls.setdefault(name, []).append(given)))
    for batch in batches:
        model(batch)
    for hook in hooks:
        hook.remove()
    found = {}
    for name, module in modules(model).items():
        stored, bias = module.gate_up_proj, getattr(module, "gate_up_proj_bias", None)
        for expert in range(len(stored)):
            rows = torch.cat([_rows(given, expert, len(stored)) for given in calls[name]])
            inputs_first = type(model).__name__.startswith(("GptOss", "Llama4"))
            both = rows @ (stored[expert] if inputs_first else stored[expert].T)
            both = both if bias is None else both + bias[expert]
            if type(model).__name__.startswith("GptOss"):
                gated = module._apply_gate(both)
            else:
                gate, up = both.chunk(2, -1)
                gated = torch.nn.functional.silu(gate) * up
            found[f"{name}.{expert}"] = rows, gated
    return found


def _rows(given, expert, experts):
    if len(given) == 1:  # Llama 4: a share for each expert, zeros where a token goes elsewhere
        own = given[0].reshape(experts, -1, given[0].shape[-1])[expert]
        return own[own.abs().sum(1) > 0]
    hidden, ids, _ = given
    return torch.stack([row for row, chosen in zip(hidden, ids) if expert in chosen.tolist()] or [hidden[:0].sum(0)])[
        :int((ids == expert).sum())]


@every_mixture
def test_an_expert_has_the_columns_and_the_hessian_of_its_own_rows(maker):
    """In float64, so that what is noted differs by float32's rounding alone."""
    model = routed(maker).double()
    model.config._experts_implementation = "eager"  # the default has no float64
    batches = [small.tokens(seed, rows=4, length=48) for seed in range(2)]
    found = octavo.torch.calibrate(model, batches, hessian=True)
    expected = inputs_of_experts(model, batches)
    assert sum(".experts." in name for name in found) == 3 * len(expected)
    for name, (rows, gated) in expected.items():
        for part, x in (("gate_proj", rows), ("up_proj", rows), ("down_proj", gated)):
            row = found[f"{name}.{part}"]
            largest = float(x.abs().max())
            for noted, want in ((row.column_min, x.amin(0)), (row.column_max, x.amax(0))):
                assert float((noted - want).abs().max()) <= 2**-24 * largest, (name, part)
            want = 2 / len(x) * x.T @ x
            # n products, their sum, and three means of each batch in float32; by Cauchy and Schwarz the terms of an element
            # sum to no more than the largest of the diagonal.
            assert float((row.hessian - want).abs().max()) <= (len(x) + 10) * 2**-24 * float(want.diagonal().max())
            assert torch.equal(row.smooth, torch.ones(x.shape[1]))
        assert found[f"{name}.gate_proj"].hessian is found[f"{name}.up_proj"].hessian


@every_mixture
def test_names_are_those_of_the_folder_whether_made_or_loaded(maker, tmp_path):
    model = routed(maker)
    model.save_pretrained(tmp_path / "float")
    loaded = type(model).from_pretrained(tmp_path / "float")
    names = {row.name for row in octavo.quantize_file(tmp_path / "float", tmp_path / "out", experts="separate").layers}
    for each in (model, loaded):
        found = octavo.torch.calibrate(each, [small.tokens(rows=16, length=48)])
        assert {found.in_files[name] for name in found} == names
    if maker is small.mixtral:
        assert "model.layers.1.block_sparse_moe.experts.3.w2" in names


def test_names_are_those_of_a_folder_that_keeps_a_stack_though_transformers_would_not(tmp_path):
    """Qwen3-MoE saved as it is in memory: transformers loads it, and quantize_file cuts it."""
    from safetensors.torch import save_file

    model = made(small.qwen3_moe)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path / "float")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "float/model.safetensors",
              metadata={"format": "pt"})
    loaded = type(model).from_pretrained(tmp_path / "float")
    found = octavo.torch.calibrate(loaded, [small.tokens(rows=8, length=48)])
    found.save(tmp_path / "calibration")
    report = octavo.quantize_file(tmp_path / "float", tmp_path / "out", calibration=tmp_path / "calibration", static_scales=True,
                                  experts="separate")
    assert {row.name for row in report.layers} == {found.in_files[name] for name in found}


def values(folder, layer):
    """W' [N, K] of a folder's layer in float64."""
    made = octavo.open_checkpoint(folder).weight(layer).quantized
    return torch.from_numpy(made.data.astype(np.float64) * made.scale.reshape(-1, 1))


@every_mixture
def test_gptq_lowers_the_error_of_every_expert_on_its_own_rows(maker, tmp_path):
    """At most 384 of an expert's rows are correlated, so that no layer may be worse than rounding to nearest."""
    case = Case(routed(maker), tmp_path)
    report, gptq = case.quantized("gptq", gptq=True)
    _, nearest = case.quantized("nearest")
    rows = {row.name: row for row in report.layers}
    assert set(rows) == set(case.found.in_files[name] for name in case.found)
    assert all(row.output_error < row.nearest_output_error for row in rows.values())
    files = case.found.in_files
    for name, (x, gated) in inputs_of_experts(case.model, [case.ids[:4], case.ids[4:]]).items():
        for part, inputs in (("gate_proj", x), ("down_proj", gated)):
            layer = files[f"{name}.{part}"]
            weight = float_weight(case.model, name, part)
            near, far = (float(((weight - values(folder, layer)) @ inputs.double().T).square().sum())
                         for folder in (gptq, nearest))
            assert near < far, layer


def float_weight(model, expert, part):
    """W [N, K] of a layer of a stacked expert in float64."""
    path, _, number = expert.rpartition(".")
    module = model.get_submodule(path)
    inputs_first = type(model).__name__.startswith(("GptOss", "Llama4"))
    stack = module.down_proj if part == "down_proj" else module.gate_up_proj
    weight = stack[int(number)].detach().double()
    weight = weight.T if inputs_first else weight
    if part == "down_proj":
        return weight
    return weight[::2] if type(model).__name__.startswith("GptOss") else weight[:len(weight) // 2]


@pytest.mark.parametrize("scheme", ["int8-dynamic", "fp8-dynamic"])
@every_mixture
@torch.no_grad()
def test_static_scales_of_experts_are_loaded(maker, scheme, tmp_path):
    """A product of all experts has the largest scale of its layers, and what it makes of the float model's inputs is near, as
    test_stacked_experts asks of dynamic scales; logits of a model that its random router does not dominate follow."""
    case = Case(routed(maker), tmp_path, hessian=False)
    found = octavo.torch.calibrate(case.model, [case.ids], scheme)
    found.save(tmp_path / "calibration")
    _, folder = case.quantized("static", scheme, static_scales=True)
    loaded = octavo.torch.from_pretrained(folder)
    calls = {}
    for name, module in modules(case.model).items():
        module.register_forward_pre_hook(lambda _, given, name=name: calls.__setitem__(name, given))
    case.model(case.ids)
    for name, module in modules(loaded).items():
        for weights, part in ((module.w13, "gate_proj"), (module.w2, "down_proj")):
            largest = max(found[f"{name}.{expert}.{part}"].input_scale for expert in range(weights.experts))
            assert weights.activation["static_scale"] == pytest.approx(largest, rel=2**-22)  # float32's rounding
        assert small.cosine(module(*calls[name]), case.model.get_submodule(name)(*calls[name])) >= 0.99
    small.save_and_load_bit_equal(loaded, tmp_path / "saved", experts="separate")


@pytest.mark.parametrize("maker", [small.mixtral, small.qwen3_moe], ids=lambda maker: maker.__name__)
def test_logits_stay_near_with_static_experts(maker, tmp_path):
    case = Case(small.made(maker), tmp_path, hessian=False)
    _, folder = case.quantized("static", static_scales=True)
    assert case.drift(octavo.torch.from_pretrained(folder)) <= 0.01  # as of layers in test_calibration


def test_experts_without_rows_are_rounded_to_nearest_and_take_the_largest_scale(tmp_path):
    model = made(small.mixtral)
    model.save_pretrained(tmp_path / "float")
    with pytest.warns(UserWarning, match="calibrate: experts must get rows to be calibrated; got 4 of 8 without one, .* the "
                                         r"first 'model\.layers\.0\.mlp\.experts\.\d'"):
        found = octavo.torch.calibrate(model, [small.tokens(rows=1, length=1)], hessian=True)
    found.save(tmp_path / "calibration")
    report = octavo.quantize_file(tmp_path / "float", tmp_path / "out", calibration=tmp_path / "calibration", gptq=True, experts="separate",
                                  static_scales=True)
    octavo.quantize_file(tmp_path / "float", tmp_path / "nearest", experts="separate")
    out, nearest = octavo.open_checkpoint(tmp_path / "out"), octavo.open_checkpoint(tmp_path / "nearest")
    names = {row.name for row in report.layers}
    unrouted = sorted(names - {found.in_files[name] for name in found})
    assert len(unrouted) == 12 and all(".experts." in name for name in unrouted)
    warning, = (text for text in report.warnings if "must get rows" in text)
    assert "got 12 layers without" in warning and any(name in warning for name in unrouted)
    in_model = {file: name for name, file in found.in_files.items()}
    for name in unrouted:
        assert np.array_equal(out.weight(name).quantized.data, nearest.weight(name).quantized.data)
        module, part = name.rsplit(".", 2)[0], name.rpartition(".")[2]
        largest = max(found[in_model[f"{module}.{expert}.{part}"]].input_scale for expert in range(4)
                      if f"{module}.{expert}.{part}" in in_model)
        assert out.weight(name).activation["static_scale"] == pytest.approx(largest, rel=2**-22)
    assert small.outputs(octavo.torch.from_pretrained(tmp_path / "out"), small.tokens()).isfinite().all()


def test_a_calibration_without_any_expert_of_a_module_is_refused(tmp_path):
    model = made(small.mixtral)
    model.save_pretrained(tmp_path / "float")
    octavo.torch.calibrate(model, [small.tokens()], ignore=["re:.*experts", "lm_head"]).save(tmp_path / "calibration")
    with pytest.raises(ValueError, match=r"must have layer 'model\.layers\.0\.block_sparse_moe\.experts\.0\.w1'"):
        octavo.quantize_file(tmp_path / "float", tmp_path / "out", calibration=tmp_path / "calibration", static_scales=True,
                                  experts="separate")


def test_experts_whose_gate_is_not_known_are_left_out_with_a_warning():
    class Experts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_up_proj = torch.nn.Parameter(torch.randn(3, 64, 32))
            self.down_proj = torch.nn.Parameter(torch.randn(3, 32, 32))

        def forward(self, x):
            return x

    with pytest.warns(UserWarning, match="calibrate: experts must have a gate .* the first '1' .it has neither act_fn"):
        found = octavo.torch.calibrate(torch.nn.Sequential(torch.nn.Linear(4, 4), Experts()), [torch.randn(2, 4)])
    assert list(found) == ["0"]
