# SPDX-License-Identifier: Apache-2.0
"""Folders of octavo.quantize_file in transformers, compressed-tensors and bitsandbytes, Octavo not imported: five
architectures, and a head that shares the embeddings' weight, by three seeds."""

import subprocess
import sys

import pytest
import torch
import transformers

import octavo
import small_models as small

pytest.importorskip("bitsandbytes")
pytest.importorskip("compressed_tensors")

SEEDS = (0, 1, 2)
LEAST = 0.99  # cosine of all logits, or last hidden states, of the quantised model and the float one


def tied():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**small.GROUPED, tie_word_embeddings=True))


MAKERS = (*small.FIVE, tied)
CASES = small.cases(MAKERS, (small.llama, small.mixtral))

LOAD = """
import sys, torch, transformers
for case in sys.argv[1:]:
    folder, cls = case.split("=")
    model = getattr(transformers, cls).from_pretrained(folder, dtype=torch.bfloat16).eval()
    with torch.no_grad():
        torch.save(model(torch.load(folder + "/ids.pt"))[0].float(), folder + "/out.pt")
assert "octavo" not in sys.modules
"""


def writes(maker, scheme):
    """Conv1D's weights have no form in compressed-tensors and fp8."""
    return maker is not small.gpt2 or scheme == "llm-int8"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Each case's folder, and the float model's outputs; all are loaded and run by one other process."""
    root, cases, wanted = tmp_path_factory.mktemp("folders"), [], {}
    for maker in MAKERS:
        for seed in SEEDS:
            model = small.made(maker, seed).to(torch.bfloat16)
            source, ids = root / f"{maker.__name__}-{seed}", small.tokens(seed)
            model.save_pretrained(source)
            outputs = small.outputs(model.float(), ids)
            for scheme in [scheme for of, scheme in CASES if of is maker]:
                if not writes(maker, scheme):
                    continue
                folder = root / f"{maker.__name__}-{scheme}-{seed}"
                octavo.quantize_file(source, folder, scheme)
                torch.save(ids, folder / "ids.pt")
                wanted[maker, scheme, seed] = folder, outputs
                cases.append(f"{folder}={type(model).__name__}")
    done = subprocess.run([sys.executable, "-c", LOAD, *cases], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return wanted


@pytest.mark.filterwarnings("ignore:.*stay in float")
@pytest.mark.parametrize("maker, scheme", CASES, ids=small.name_of)
def test_loads_as_it_is(folders, maker, scheme, tmp_path):
    if not writes(maker, scheme):
        small.made(maker).save_pretrained(tmp_path / "in")
        with pytest.raises(ValueError, match="which is a Conv1D's"):
            octavo.quantize_file(tmp_path / "in", tmp_path / "out", scheme)
        return
    for seed in SEEDS:
        folder, outputs = folders[maker, scheme, seed]
        assert small.cosine(torch.load(folder / "out.pt"), outputs) >= LEAST, seed
