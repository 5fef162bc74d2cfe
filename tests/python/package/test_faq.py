# SPDX-License-Identifier: Apache-2.0
"""docs/faq.md: each sentence of the table of errors is one that the library says."""

import re
from pathlib import Path

import numpy as np
import octavo
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import octavo.torch  # noqa: E402
from octavo.torch import OctavoConfig  # noqa: E402

PAGE = Path(__file__).resolve().parents[3] / "docs" / "faq.md"
SENTENCES = re.findall(r"^\| `(\w+: .*?)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
SIZES = dict(vocab_size=96, hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4)


def quantised(**layer):
    model = torch.nn.Sequential(torch.nn.Linear(64, 64))
    for name, value in layer.items():
        getattr(model[0], name).data[0, 0] = value
    octavo.torch.quantize_(model, "int8-dynamic")
    return model


def second_derivative():
    x = torch.ones(2, 64, requires_grad=True)
    gradient, = torch.autograd.grad(quantised()(x).sum(), x, create_graph=True)
    gradient.sum().backward()


def cut_file():
    whole = Path("float/model.safetensors").read_bytes()
    Path("cut.safetensors").write_bytes(whole[:len(whole) // 2])
    octavo.open_checkpoint("cut.safetensors")


def over_two_devices():
    transformers.AutoModelForCausalLM.from_pretrained("float", quantization_config=OctavoConfig("int8-dynamic"),
                                                      device_map={"model": "cpu", "lm_head": "disk"})


CALLS = [
    lambda: octavo.scaled_mm(np.ones((2, 3), np.int8), np.ones((4, 5), np.int8)),
    lambda: octavo.scaled_mm(np.ones((2, 3)), np.ones((3, 5))),
    lambda: quantised(weight=float("nan")),
    lambda: octavo.torch.quantize_(torch.nn.Sequential(torch.nn.Linear(64, 64)), "int8-dynamic", ignore=("re:.*foo",)),
    lambda: quantised()[0].weight.mul_(2),
    second_derivative,
    lambda: [octavo.quantize_file("float", "int8", "int8-dynamic"), octavo.quantize_file("int8", "again", "int8-dynamic")],
    lambda: octavo.torch.from_pretrained("float"),
    over_two_devices,
    cut_file,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    held = tmp_path_factory.mktemp("faq")
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)).save_pretrained(held / "float")
    return held


def test_every_sentence_has_its_call():
    assert len(SENTENCES) == len(CALLS)


@pytest.mark.parametrize("shown, call", list(zip(SENTENCES, CALLS)), ids=[sentence[:40] for sentence in SENTENCES])
def test_the_library_says_what_the_page_shows(shown, call, folder, monkeypatch):
    monkeypatch.chdir(folder)
    with pytest.raises(Exception) as caught:
        call()
    parts = [part.strip() for part in shown.split("...")]
    assert re.fullmatch(".*".join(map(re.escape, parts)), str(caught.value), re.DOTALL), str(caught.value)
