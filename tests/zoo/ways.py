# SPDX-License-Identifier: Apache-2.0
"""One class of transformers through every scheme, every target of `octavo convert` and save_pretrained; each folder is read
by transformers alone and by Octavo."""

import json
import shutil
import subprocess
from pathlib import Path
import torch
from transformers import PreTrainedModel

from case import LEAST, SENTENCE, SLACK, Result, cosine_of, load_plain
from fake import least_cosine
from inputs import inputs_of, outputs
from shrink import small_model

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
TARGETS = ("compressed-tensors", "fp8", "fp8-block", "bitsandbytes")
# vLLM's own, of which transformers reads no folder; and blocks of 128 in compressed-tensors, which it runs where 128 divides
# K: small models have other sizes.
NOT_READ = {"fp8", "fp8-block to compressed-tensors"}


def run(octavo: str, cls: type[PreTrainedModel], folder: Path) -> list[Result]:
    """A result for each way; `scheme` names it. Folders under `folder` are made anew."""
    model = small_model(cls)
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "float"
    model.save_pretrained(source)
    model = cls.from_pretrained(source, dtype=torch.float32).eval()
    arguments = inputs_of(model)
    want = None if arguments is None else outputs(model, arguments)
    walk = _Walk(octavo, cls, arguments, want, folder / "again")
    for scheme in SCHEMES:
        made = folder / scheme
        if not walk.make(scheme, ["quantize", str(source), str(made), "--scheme", scheme]):
            continue
        walk.read(f"{scheme}, transformers", made)
        walk.read(f"{scheme}, Octavo", made, by_octavo=True)
        for target in TARGETS:
            other = folder / f"{scheme}-{target}"
            if walk.make(f"{scheme} to {target}", ["convert", str(made), str(other), "--to", target]):
                if not {target, f"{scheme} to {target}"} & NOT_READ:
                    walk.read(f"{scheme} to {target}, transformers", other)
                walk.read(f"{scheme} to {target}, Octavo", other, by_octavo=True)
        walk.save(f"{scheme}, saved", made, folder / f"{scheme}-saved")
    return walk.results


class _Walk:
    """What became of each way."""

    def __init__(self, octavo, cls, arguments, want, again):
        self._octavo, self._cls, self._arguments, self._want, self._again = octavo, cls, arguments, want, again
        self.results: list[Result] = []

    def _tell(self, way, outcome, said="", cosine=None):
        self.results.append(Result(self._cls.__name__, way, outcome, cosine, " ".join(str(said).split())[:300]))

    def make(self, way, words) -> bool:
        done = subprocess.run([self._octavo, *words, "--quiet"], capture_output=True, text=True)
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        if done.returncode:
            self._tell(way, "refused" if SENTENCE.fullmatch(said) and done.returncode > 0 else "FAILED", said)
        return done.returncode == 0

    def read(self, way, folder, by_octavo=False):
        try:
            model = self._by_octavo(folder) if by_octavo else self._by_transformers(folder)
            if self._want is None:
                return self._tell(way, "weights")
            cosine = cosine_of(self._want, outputs(model, self._arguments))
            good = cosine >= LEAST or cosine >= self._rounded(folder) - SLACK
            self._tell(way, "good" if good else "FAILED", cosine=cosine)
        except Exception as error:
            self._tell(way, "FAILED", f"{type(error).__name__}: {error}")

    def _rounded(self, folder):
        """The cosine of the folder's dequantised weights with rounded activations, by PyTorch's arithmetic."""
        shutil.rmtree(self._again, ignore_errors=True)
        subprocess.run([self._octavo, "dequantize", str(folder), str(self._again), "--dtype", "float32", "--quiet"], check=True)
        model = load_plain(self._cls, self._again)[0]
        layers = {name for name, module in self._by_octavo(folder).named_modules() if hasattr(module, "scheme")}
        code = "int8" if json.loads((folder / "config.json").read_text())["quantization_config"].get("load_in_8bit") else "fp8"
        return least_cosine(model, layers, code, lambda rounded: cosine_of(self._want, outputs(rounded, self._arguments)))

    def _by_octavo(self, folder):
        import octavo.torch

        return octavo.torch.from_pretrained(folder, model_class=self._cls, dtype=torch.float32)

    def _by_transformers(self, folder):
        model, info = load_plain(self._cls, folder)
        if lost := [f"{kind} {sorted(map(str, info[kind]))[:3]}" for kind in ("missing_keys", "unexpected_keys") if info[kind]]:
            raise ValueError("; ".join(lost))
        return model

    def save(self, way, folder, out):
        """save_pretrained of the folder in Octavo comes back with the same bits."""
        try:
            model = self._by_octavo(folder)
            model.save_pretrained(out)
            again = self._by_octavo(out)
            if self._want is None:
                return self._tell(way, "weights")
            same = torch.equal(outputs(model, self._arguments), outputs(again, self._arguments))
            self._tell(way, "good" if same else "FAILED", "" if same else "other bits")
        except NotImplementedError as error:
            self._tell(way, "refused", error)
        except Exception as error:
            self._tell(way, "FAILED", f"{type(error).__name__}: {error}")
