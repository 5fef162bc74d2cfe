# SPDX-License-Identifier: Apache-2.0
"""Experts in one tensor, in every model's order: quantised in place, while loading, by the command line, and read again."""

import json
from pathlib import Path

import numpy as np
import octavo
import octavo.torch
import pytest
import small_models as small
import torch
from octavo.torch import OctavoConfig
from safetensors.torch import load_file, save_file

MODELS = (small.gpt_oss, small.llama4, small.qwen3_moe, small.mixtral)
IDS = [maker.__name__ for maker in MODELS]
SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block")


def made(maker):
    """A small model whose biases and stacks are no zeros, which Llama 4's are at first."""
    model = small.made(maker)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "bias" in name or "experts." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def experts_of(model):
    return [(name, module) for name, module in model.named_modules() if name.endswith(".experts")]


def routed(model, inputs):
    """What each module of experts makes of the inputs that the float model gave it."""
    return [module(*inputs[name]) for name, module in experts_of(model)]


@pytest.fixture(scope="module", params=MODELS, ids=IDS)
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.__name__)
    model = made(request.param)
    model.save_pretrained(folder / "float")
    inputs = {}
    for name, module in experts_of(model):
        module.register_forward_pre_hook(lambda module, given, name=name: inputs.__setitem__(name, given))
    with torch.no_grad():
        model(small.tokens())
        return folder, model, inputs, routed(model, inputs)


@pytest.mark.parametrize("scheme", SCHEMES)
@torch.no_grad()
def test_three_ways_to_the_same_codes(case, scheme):
    """quantize_, OctavoConfig and a folder that quantize_file wrote give the same bits, near to the float experts'."""
    folder, model, inputs, expected = case
    out = folder / scheme
    octavo.quantize_file(str(folder / "float"), str(out), scheme, experts="separate")
    in_place = made(next(maker for maker in MODELS if maker.__name__ in folder.name))
    octavo.torch.quantize_(in_place, scheme)
    ways = [in_place, octavo.torch.from_pretrained(out),
            type(model).from_pretrained(folder / "float", quantization_config=OctavoConfig(scheme))]
    outputs = [routed(way, inputs) for way in ways]
    for y, *found in zip(expected, *outputs):
        assert small.cosine(found[0], y) >= 0.99
        for other in found[1:]:
            assert torch.equal(found[0], other)
    logits = [small.outputs(way, small.tokens()) for way in ways]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])
    small.save_and_load_bit_equal(in_place, folder / f"{scheme}-saved", experts="separate")


def stacked_fp8(folder: Path, out: Path, interleaved: bool) -> None:
    """The folder with stacks of e4m3fn as they lie, a scale for each expert, and biases as they are."""
    out.mkdir()
    state = load_file(folder / "model.safetensors")
    tensors = {}
    for name, value in state.items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            tensors[name] = value.contiguous()
            continue
        scale = value.abs().amax((1, 2)) / 448
        tensors[name] = (value / scale[:, None, None]).to(torch.float8_e4m3fn).contiguous()
        tensors[f"{name}_weight_scale"] = scale
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "fp8", "activation_scheme": "dynamic"}
    (out / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("maker", [small.gpt_oss, small.llama4], ids=["gpt_oss", "llama4"])
@torch.no_grad()
def test_stacks_in_8_bits_are_loaded_and_converted(maker, tmp_path):
    """What Octavo's experts multiply is what the stack's codes stand for: the model with those values is near."""
    model = made(maker)
    model.save_pretrained(tmp_path / "float")
    stacked_fp8(tmp_path / "float", tmp_path / "fp8", maker is small.gpt_oss)
    octavo.checkpoints.dequantize_file(str(tmp_path / "fp8"), str(tmp_path / "back"), dtype="float32")
    values = type(model).from_pretrained(tmp_path / "back")
    inputs = {}
    for name, module in experts_of(values):
        module.register_forward_pre_hook(lambda module, given, name=name: inputs.__setitem__(name, given))
    values(small.tokens())
    expected = routed(values, inputs)
    octavo.checkpoints.convert_file(str(tmp_path / "fp8"), str(tmp_path / "layers"), "compressed-tensors")
    assert octavo.open_checkpoint(str(tmp_path / "layers")).quantized_experts() == []
    ways = [octavo.torch.from_pretrained(tmp_path / name) for name in ("fp8", "layers")]
    ways.append(octavo.torch.load_(maker().eval(), tmp_path / "fp8"))
    outputs = [routed(way, inputs) for way in ways]
    for y, *found in zip(expected, *outputs):
        assert small.cosine(found[0], y) >= 0.99
        assert all(torch.equal(found[0], other) for other in found[1:])


def test_layers_of_experts(tmp_path):
    made(small.gpt_oss).save_pretrained(tmp_path / "float")
    stacked_fp8(tmp_path / "float", tmp_path / "fp8", True)
    file = octavo.open_checkpoint(str(tmp_path / "fp8"))
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    layers = file.layers_of_experts(stack)
    assert layers[:3] == ["model.layers.0.mlp.experts.0.gate_proj", "model.layers.0.mlp.experts.0.up_proj",
                          "model.layers.0.mlp.experts.1.gate_proj"]
    assert set(layers) <= set(file.quantized_layers())
    codes = np.asarray(file.tensor(stack)).view(np.uint8)  # [E, H, 2 I], gate and up in turn
    assert np.array_equal(np.asarray(file.weight(layers[3]).quantized.data).view(np.uint8), codes[1, :, 1::2].T)
    with pytest.raises(ValueError, match="prefix must name quantised experts"):
        file.layers_of_experts("model.layers.0.mlp.experts")


def test_experts_without_a_gate_that_is_known_stay():
    class Experts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_up_proj = torch.nn.Parameter(torch.randn(3, 64, 32))
            self.down_proj = torch.nn.Parameter(torch.randn(3, 32, 32))

    with pytest.warns(UserWarning, match="Experts: it has neither act_fn nor _apply_gate"):
        assert octavo.torch.quantize_(torch.nn.ModuleDict({"experts": Experts()})) == []
    odd = Experts()
    odd.down_proj = torch.nn.Parameter(torch.randn(3, 31, 32))
    with pytest.warns(UserWarning, match=r"gate_up_proj and down_proj are \[3, 64, 32\] and \[3, 31, 32\], not"):
        assert octavo.torch.quantize_(torch.nn.ModuleDict({"experts": odd})) == []
