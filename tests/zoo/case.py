# SPDX-License-Identifier: Apache-2.0
"""One class of transformers through `octavo quantize`, read by transformers without Octavo."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel

from fake import least_cosine
from inputs import inputs_of, outputs
from shrink import small_model

LEAST = 0.99  # cosine of the outputs, quantised and float
SLACK = 0.005  # or below that of the fake-quantised model
SENTENCE = re.compile(r"octavo: [a-z_]+: .+")  # of a refusal


class Result(NamedTuple):
    cls: str
    scheme: str
    outcome: str  # "good", "weights", "refused", "not built", "FAILED"
    cosine: float | None
    said: str


def run(octavo: str, cls: type[PreTrainedModel], scheme: str, folder: Path) -> Result:
    """The class in a scheme; folders under `folder` are made anew."""
    def result(outcome: str, said: str = "", cosine: float | None = None) -> Result:
        return Result(cls.__name__, scheme, outcome, cosine, " ".join(said.split())[:300])

    try:
        model = small_model(cls)
    except Exception as error:
        return result("not built", f"{type(error).__name__}: {error}")
    shutil.rmtree(folder, ignore_errors=True)
    source, made, floats = folder / "float", folder / "made", folder / "again"
    try:
        model.save_pretrained(source)
        model = cls.from_pretrained(source, dtype=torch.float32).eval()
    except Exception as error:  # not Octavo's: transformers does not read what it wrote
        return result("not built", f"float: {type(error).__name__}: {error}")
    done = subprocess.run([octavo, "quantize", str(source), str(made), "--scheme", scheme], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        return result("refused" if SENTENCE.fullmatch(said) and done.returncode > 0 else "FAILED", said)
    try:
        return _compare(octavo, cls, model, scheme, made, floats, result)
    except Exception as error:
        return result("FAILED", f"{type(error).__name__}: {error}")


def _compare(octavo, cls, model, scheme, made, floats, result):
    again = subprocess.run([octavo, "dequantize", str(made), str(floats), "--dtype", "float32"], capture_output=True, text=True)
    if again.returncode:
        return result("FAILED", again.stderr)
    wanted = load_plain(cls, floats)[0]
    loaded, info = load_plain(cls, made)
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            return result("FAILED", f"{kind}: {sorted(map(str, info[kind]))[:4]}")
    layers = {name for name, module in loaded.named_modules() if hasattr(module, "quantization_scheme")}
    arguments = inputs_of(model)
    got = None if arguments is None else outputs(loaded, arguments)
    if got is None:
        loaded.hf_quantizer.compressor.decompress_model(loaded)  # what a call does first
    if other := _other_weights(loaded, wanted):
        return result("FAILED", f"other weights than the dequantised: {other[:4]} of {len(other)}")
    if got is None:
        return result("weights")
    want = outputs(model, arguments)
    cosine = cosine_of(want, got)
    if cosine >= LEAST:
        return result("good", cosine=cosine)
    best = least_cosine(wanted, layers, "int8" if scheme == "int8-dynamic" else "fp8",
                        lambda rounded: cosine_of(want, outputs(rounded, arguments)))
    return result("good" if cosine >= best - SLACK else "FAILED", f"rounded: {best:.4f}", cosine)


def _other_weights(loaded, wanted):
    """Names whose values, decompressed by the reader, are not bit for bit those of the dequantised folder."""
    got = loaded.state_dict()
    return [name for name, value in wanted.state_dict().items()
            if name not in got or not torch.equal(value.float().nan_to_num(7.0), got[name].float().nan_to_num(7.0))]


def load_plain(cls: type[PreTrainedModel], folder: Path, **options: Any) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The class's model of a folder in transformers, float32 where it is not quantised, and what loading says."""
    model, info = cls.from_pretrained(folder, dtype=torch.float32, output_loading_info=True, **options)
    return model.eval(), info


def cosine_of(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), 0)) if a.shape == b.shape else -1.0


def line(one: Result) -> str:
    return json.dumps(one._asdict())
