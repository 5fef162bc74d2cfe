# SPDX-License-Identifier: Apache-2.0
"""Schemes by pattern: each layer gets the first that its name matches, whoever asks; and transformers' modules_to_not_convert."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402
from octavo.torch import OctavoConfig  # noqa: E402
from octavo.torch.layers._layer import EightBitModule  # noqa: E402

MIXED = {"q_proj": "int8-weight-only", "re:.*self_attn": "int8-dynamic", "re:.*layers.0.mlp": None, "re:.*mlp": "fp8-dynamic"}
WANTED = {"layers.0.self_attn.q_proj": "int8-weight-only", "layers.1.self_attn.k_proj": "int8-dynamic", "layers.0.mlp.up_proj": None,
          "layers.1.mlp.up_proj": "fp8-dynamic", "layers.1.mlp.experts": "fp8-dynamic", "layers.0.mlp.experts": None}


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


def scheme_of(layer):
    if not isinstance(layer, EightBitModule):
        return None
    return getattr(layer, "scheme", None) or layer._scheme


@pytest.mark.parametrize("maker", [small.llama, small.mixtral], ids=small.name_of)
def test_each_layer_gets_the_first_scheme_that_matches(maker, tmp_path):
    """In quantize_, OctavoConfig and from_pretrained alike; the folder comes back with the same bits."""
    float_model, ids = small.made(maker), small.tokens()
    float_model.save_pretrained(tmp_path / "float")
    model = copy.deepcopy(float_model)
    report = octavo.torch.quantize_(model, MIXED)
    for path, scheme in WANTED.items():
        if (layer := dict(model.model.named_modules()).get(path)) is not None:
            assert scheme_of(layer) == scheme, path
    assert {row.scheme for row in report} == {scheme for scheme in MIXED.values() if scheme}
    left = {row.name: row for row in report.left}
    assert all(row.asked for row in left.values())
    assert 'scheme has None for "re:.*layers.0.mlp"' in {row.reason for row in left.values()}
    config = OctavoConfig(MIXED)
    assert OctavoConfig.from_dict(json.loads(json.dumps(config.to_dict()))).scheme == MIXED
    for loaded in (type(model).from_pretrained(tmp_path / "float", quantization_config=config),
                   octavo.torch.from_pretrained(tmp_path / "float", MIXED)):
        assert torch.equal(small.outputs(loaded, ids), small.outputs(model, ids))
        assert sorted(loaded.hf_quantizer.report) == sorted(report)
    model.save_pretrained(tmp_path / "saved")
    assert torch.equal(small.outputs(octavo.torch.from_pretrained(tmp_path / "saved"), ids), small.outputs(model, ids))


@pytest.mark.parametrize("scheme, said", [
    ({}, "scheme must have a pattern for at least one layer; got an empty mapping"),
    ({"re:(": "int8-dynamic"}, r"scheme\['re:\('\] must be a regular expression"),
    ({"upp_proj": "int8-dynamic"}, r"scheme\['upp_proj'\] must match a layer; got 'upp_proj' \(nearest: 'up_proj'\)"),
    ({"up_proj": "int9"}, "scheme must be int8-dynamic, .* or mxfp8; got 'int9'"),
    ({3: "int8-dynamic"}, 'keys must be names of layers or "re:..."; got 3'),
    ({"re:.*": "int8-dynamic", "up_proj": "fp8-dynamic"}, r"scheme\['up_proj'\] must decide for a layer; got none"),
    ({"re:.*": "int8-dynamic", "lm_head": "fp8-dynamic"}, r"scheme\['lm_head'\] must decide for a layer; got none"),
    ({"norm": "int8-dynamic", "re:.*": "fp8-dynamic"}, r"scheme\['norm'\] must decide for a layer; got none"),
])
def test_a_pattern_that_decides_nothing_is_an_error(scheme, said):
    model = small.made(small.llama)
    before = [type(layer) for layer in model.modules()]
    with pytest.raises(ValueError, match=said):
        octavo.torch.quantize_(model, scheme)
    assert [type(layer) for layer in model.modules()] == before


def test_a_calibration_is_for_one_scheme():
    model = small.made(small.llama)
    found = octavo.torch.calibrate(model, [small.tokens()])
    with pytest.raises(ValueError, match="scheme must be one for all layers beside a calibration"):
        octavo.torch.quantize_(model, {"re:.*": "int8-dynamic"}, calibration=found)


@pytest.mark.parametrize("names", [["model.layers.1"], ["mlp.up_proj", "lm_head"], ["q_proj"], ["model.layers.*.mlp"], ["rs.0.mlp"],
                                   ["lm_head", "model.layers.0.self_attn.k_proj"]], ids=str)
def test_modules_to_not_convert_means_what_it_means_there(names, tmp_path):
    from transformers.quantizers.quantizers_utils import should_convert_module

    float_model = small.made(small.llama)
    float_model.save_pretrained(tmp_path)
    config = OctavoConfig("int8-dynamic", modules_to_not_convert=names)
    model = type(float_model).from_pretrained(tmp_path, quantization_config=config)
    for path, layer in float_model.named_modules():
        if isinstance(layer, torch.nn.Linear):
            assert isinstance(model.get_submodule(path), EightBitModule) == should_convert_module(path, names), path
    assert OctavoConfig.from_dict(config.to_dict()).modules_to_not_convert == names
