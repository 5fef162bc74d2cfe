# SPDX-License-Identifier: Apache-2.0
"""Folders that other tools wrote, on Octavo's layers: weights and products are the tools' own."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402

DATA = Path(__file__).resolve().parents[2] / "checkpoint" / "data"
FOLDERS = sorted(path.parent.name for path in DATA.glob("*/config.json") if "model_type" in path.read_text())


def expected_of(name):
    file = octavo.open_checkpoint(DATA / f"{name}.expected.safetensors")
    return {key: np.asarray(file.tensor(key), np.float32) for key in file.keys()}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_runs_on_octavos_layers(name):
    transformers.utils.logging.disable_progress_bar()
    model = octavo.torch.from_pretrained(DATA / name, model_class=transformers.LlamaForCausalLM, dtype=torch.float32)
    expected = expected_of(name)
    layers = sorted({key.rpartition(".")[0] for key in expected})
    assert layers
    for path in layers:
        layer = model.get_submodule(path)
        assert layer.frozen
        again = copy.deepcopy(layer)
        again.load_state_dict(layer.state_dict())
        x = torch.randn(3, layer.in_features)
        assert torch.equal(again(x), layer(x))
        weight = torch.from_numpy(expected[path + ".weight"])
        float_weight = layer.weight.values()
        assert torch.equal(float_weight[::4].to(torch.bfloat16), weight.to(torch.bfloat16))
        if path + ".x" not in expected:
            continue
        x, seen = (torch.from_numpy(expected[f"{path}.{key}"]) for key in ("x", "x_quantised"))
        if not layer._rule.get("static_scale"):  # tools compute scales of a batch each in its own way
            assert small.cosine(layer(x), x @ float_weight.T) >= 0.99
            continue
        exact = seen.double() @ float_weight.double().T
        bound = (x.shape[1] + 8) * 2.0**-24 * (seen.abs().double() @ float_weight.abs().double().T)
        assert bool(((layer(x) - exact).abs() <= bound).all())
    with torch.no_grad():
        assert model(torch.arange(4)[None]).logits.isfinite().all()


def test_gptqs_order_of_columns_is_that_of_activations():
    model = octavo.torch.from_pretrained(DATA / "auto-gptq-act-order", model_class=transformers.LlamaForCausalLM, dtype=torch.float32)
    layer = model.model.layers[0].mlp.down_proj
    columns = layer.state_dict()["columns"]
    assert not torch.equal(columns, torch.arange(64))
    x = torch.randn(2, 64)
    exact = x.double() @ layer.weight.values().double().T
    bound = 2.0**-7 * (x.abs().double() @ layer.weight.values().abs().double().T)  # products of bfloat16
    assert bool(((layer(x) - exact).abs() <= bound).all())
    state = layer.state_dict()
    state["columns"] = torch.zeros(64, dtype=torch.int64)
    with pytest.raises(RuntimeError, match="columns must be the numbers 0 to 63"):
        layer.load_state_dict(state)


def test_what_has_no_words_is_not_saved(tmp_path):
    for name, what in (("auto-gptq-act-order", "whose columns are those of GPTQ's act-order"),
                       ("llm-compressor-pack-w8a16-asymmetric-group", "which has")):
        model = octavo.torch.from_pretrained(DATA / name, model_class=transformers.LlamaForCausalLM)
        with pytest.raises(NotImplementedError, match="save_pretrained: model must have .*" + what):
            model.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["llm-compressor-int8-group", "llm-compressor-pack-w8a16-channel", "modelopt-fp8",
                                  "llm-compressor-int8-tensor-static", "llm-compressor-int8-static-asymmetric", "vllm-fp8-static",
                                  "bitsandbytes-int8", "transformers-fp8-block", "llm-compressor-mxfp8"])
def test_what_others_wrote_is_saved_and_comes_back(name, tmp_path):
    model = octavo.torch.from_pretrained(DATA / name, model_class=transformers.LlamaForCausalLM, dtype=torch.float32)
    model.save_pretrained(tmp_path)
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    ids = torch.arange(8)[None]
    assert torch.equal(small.outputs(again, ids), small.outputs(model, ids))


def test_every_way_to_say_it_is_here():
    methods = {json.loads((DATA / name / "config.json").read_text()).get("quantization_config", {}).get("quant_method")
               for name in FOLDERS}
    assert {"compressed-tensors", "fp8", "bitsandbytes", "gptq", "torchao"} <= methods


@pytest.mark.parametrize("reads", ["from_pretrained", "load_"])
def test_rules_for_outputs_are_a_warning(reads, tmp_path):
    """They are declared for every layer, and nothing applies them."""
    model = small.made(small.llama)
    octavo.torch.quantize_(model, "int8-dynamic")
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    group = config["quantization_config"]["config_groups"]["group_0"]
    group["output_activations"] = {**group["input_activations"], "dynamic": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    first = "'model.layers.0.mlp.down_proj'"
    with pytest.warns(UserWarning, match=f"{reads}: 14 layers have rules for their outputs .*the first: {first}"):
        again = octavo.torch.from_pretrained(tmp_path) if reads == "from_pretrained" else \
            octavo.torch.load_(small.made(small.llama), tmp_path)
    assert torch.equal(small.outputs(again, small.tokens()), small.outputs(model, small.tokens()))
