# SPDX-License-Identifier: Apache-2.0
"""One class of transformers through every scheme, every target of `octavo convert` and save_pretrained; each folder is read
by transformers alone and by Octavo."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from case import LEAST, SENTENCE, Result, _cosine, _plain
from inputs import inputs_of, outputs
from shrink import small_model

SCHEMES = ("int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8")
TARGETS = ("compressed-tensors", "fp8", "fp8-block", "bitsandbytes")
NOT_READ = {"fp8"}  # vLLM's, of which transformers reads no folder
KEPT = 0.97  # least cosine of a folder that was made of another one's codes: two roundings


def run(octavo: str, cls: type[PreTrainedModel], folder: Path) -> list[Result]:
    """A result for each way; `scheme` names it. Folders under `folder` are made anew."""
    model = small_model(cls)
    shutil.rmtree(folder, ignore_errors=True)
    source = folder / "float"
    model.save_pretrained(source)
    model = cls.from_pretrained(source, dtype=torch.float32).eval()
    arguments = inputs_of(model)
    want = None if arguments is None else outputs(model, arguments)
    walk = _Walk(octavo, cls, arguments, want)
    for scheme in SCHEMES:
        made = folder / scheme
        if not walk.make(scheme, ["quantize", str(source), str(made), "--scheme", scheme]):
            continue
        walk.read(f"{scheme}, transformers", made, LEAST)
        walk.read(f"{scheme}, Octavo", made, LEAST, by_octavo=True)
        for target in TARGETS:
            other = folder / f"{scheme}-{target}"
            if walk.make(f"{scheme} to {target}", ["convert", str(made), str(other), "--to", target]):
                if target not in NOT_READ:
                    walk.read(f"{scheme} to {target}, transformers", other, KEPT)
                walk.read(f"{scheme} to {target}, Octavo", other, KEPT, by_octavo=True)
        walk.save(f"{scheme}, saved", made, folder / f"{scheme}-saved")
    return walk.results


class _Walk:
    """What became of each way."""

    def __init__(self, octavo, cls, arguments, want):
        self._octavo, self._cls, self._arguments, self._want = octavo, cls, arguments, want
        self.results: list[Result] = []

    def _tell(self, way, outcome, said="", cosine=None):
        self.results.append(Result(self._cls.__name__, way, outcome, cosine, " ".join(str(said).split())[:300]))

    def make(self, way, words) -> bool:
        done = subprocess.run([self._octavo, *words, "--quiet"], capture_output=True, text=True)
        said = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        if done.returncode:
            self._tell(way, "refused" if SENTENCE.fullmatch(said) and done.returncode > 0 else "FAILED", said)
        return done.returncode == 0

    def read(self, way, folder, least, by_octavo=False):
        try:
            model = self._by_octavo(folder) if by_octavo else self._by_transformers(folder)
            if self._want is None:
                return self._tell(way, "weights")
            cosine = _cosine(self._want, outputs(model, self._arguments))
            self._tell(way, "good" if cosine >= least else "FAILED", cosine=cosine)
        except Exception as error:
            self._tell(way, "FAILED", f"{type(error).__name__}: {error}")

    def _by_octavo(self, folder):
        import octavo.torch

        return octavo.torch.from_pretrained(folder, self._cls, dtype=torch.float32)

    def _by_transformers(self, folder):
        model, info = _plain(self._cls, folder)
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


def lines(results: list[Result]) -> list[dict[str, Any]]:
    return [json.loads(json.dumps(one._asdict())) for one in results]
