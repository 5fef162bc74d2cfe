# SPDX-License-Identifier: Apache-2.0
"""The ways in which the model is quantised: a row each, and the folder that a row stands for."""

import copy
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any, Callable, NamedTuple

import safetensors.torch
import torch

import octavo
import octavo.torch
from octavo.torch import LEFT_IN_FLOAT, Calibration

GROUP = 32  # of MX


class Variant(NamedTuple):
    name: str
    scheme: str  # of quantize_
    words: str  # weight and activations
    static: bool = False  # activations by a calibration's scales, or its outlier columns
    finish: Callable[[Path], None] | None = None  # what is done to the folder that was saved
    smooths: bool = True  # whether SmoothQuant can change anything: activations are quantised
    head: str | None = None  # the output head's scheme, as quantize_ takes it
    gptq: bool = False  # codes of the float folder by a calibration's Hessians, as octavo.quantize_file makes them


def _weight_only(folder: Path) -> None:
    """The same codes, declared without a rule for activations."""
    declared = _config(folder)
    for group in declared["quantization_config"]["config_groups"].values():
        group["input_activations"] = None
    (folder / "config.json").write_text(json.dumps(declared, indent=1))


def _config(folder: Path) -> Any:
    return json.loads((folder / "config.json").read_text())


VARIANTS = (
    Variant("int8-dynamic", "int8-dynamic", "int8 per channel; int8 per token"),
    Variant("int8-dynamic, head too", "int8-dynamic", "int8-dynamic of all linear layers", smooths=False, head="int8-dynamic"),
    Variant("int8-dynamic, GPTQ", "int8-dynamic", "int8 per channel by GPTQ; int8 per token", gptq=True),
    Variant("int8-static", "int8-dynamic", "int8 per channel; int8, one calibrated scale a layer", static=True),
    Variant("int8 weight-only", "int8-dynamic", "int8 per channel; as they are", finish=_weight_only, smooths=False),
    Variant("fp8-dynamic", "fp8-dynamic", "e4m3fn per channel; e4m3fn per token"),
    Variant("fp8-dynamic, head too", "fp8-dynamic", "fp8-dynamic of all linear layers", smooths=False, head="fp8-dynamic"),
    Variant("fp8-static", "fp8-dynamic", "e4m3fn per channel; e4m3fn, one calibrated scale a layer", static=True),
    Variant("fp8 weight-only", "fp8-dynamic", "e4m3fn per channel; as they are", finish=_weight_only, smooths=False),
    Variant("fp8-block", "fp8-block", "e4m3fn per 128 x 128 block; e4m3fn per group of 128"),
    Variant("mxfp8", "mxfp8", "e4m3fn per group of 32, both; scales are powers of two"),
    Variant("llm-int8", "llm-int8", "int8 per channel; int8 per token, columns with an element of 6 and more in float"),
    Variant("llm-int8, calibrated columns", "llm-int8", "the same, and calibrated outlier columns always in float", static=True),
)


def write(variant: Variant, model: Any, calibration: Calibration, folder: Path) -> None:
    """The folder of a float model in this form, as octavo.torch saves it. calibration: of this model."""
    model = copy.deepcopy(model)
    if variant.scheme == "mxfp8":
        _write_mx(model, folder)
        return
    octavo.torch.quantize_(model, variant.scheme, calibration=_for_codes(calibration, variant.scheme) if variant.static else None,
                          head=variant.head)
    model.save_pretrained(folder)
    if variant.finish:
        variant.finish(folder)


def write_gptq(variant: Variant, source: Path, calibration: Path, smooth: bool, folder: Path) -> None:
    """The folder of a float folder in this form. calibration: a file with Hessians of that model."""
    shutil.rmtree(folder, ignore_errors=True)
    octavo.quantize_file(source, folder, variant.scheme, calibration=calibration, gptq=True, smoothquant=smooth)


def _for_codes(calibration, scheme):
    """The same ranges, from which static scales for a scheme's codes follow."""
    code = "float8_e4m3fn" if scheme.startswith("fp8") else "int8"
    return Calibration({name: dataclasses.replace(row, code=code) for name, row in calibration.items()}, calibration.in_files)


def _write_mx(model, folder):
    """compressed-tensors' mxfp8-quantized, whose scales are the exponents as bytes."""
    model.save_pretrained(folder)
    state = safetensors.torch.load_file(folder / "model.safetensors")
    for name, layer in model.named_modules():
        if type(layer) is torch.nn.Linear and name not in LEFT_IN_FLOAT:
            q = octavo.quantizers.quantize_mxfp8(layer.weight.detach())
            state[f"{name}.weight"], state[f"{name}.weight_scale"] = q.data, q.scale.view(torch.uint8)
    safetensors.torch.save_file(state, folder / "model.safetensors", {"format": "pt"})
    rule = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "group", "group_size": GROUP,
            "scale_dtype": "torch.uint8"}
    group = {"targets": ["Linear"], "weights": {**rule, "dynamic": False}, "input_activations": {**rule, "dynamic": True},
             "output_activations": None, "format": "mxfp8-quantized"}
    declared = {**_config(folder), "quantization_config": {
        "quant_method": "compressed-tensors", "format": "mxfp8-quantized", "quantization_status": "compressed",
        "config_groups": {"group_0": group}, "ignore": ["lm_head"]}}
    (folder / "config.json").write_text(json.dumps(declared, indent=1))
