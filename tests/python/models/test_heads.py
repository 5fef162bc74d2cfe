# SPDX-License-Identifier: Apache-2.0
"""Output heads in 8 bits: by name, tied and not, through every way in and out of a folder."""

import json
import warnings

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.torch.nn import QuantizedLinear  # noqa: E402

IDS = torch.arange(24).reshape(2, 12)
SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1)
KINDS = {"Llama": {}, "Qwen2": {}, "Gemma2": dict(head_dim=16), "GPTNeoX": {}}


def model_of(kind, tied):
    torch.manual_seed(1)
    sizes = {**SIZES, **KINDS[kind], "tie_word_embeddings": tied}
    if kind == "GPTNeoX":
        sizes.pop("num_key_value_heads")
    config = getattr(transformers, f"{kind}Config")(**sizes)
    return getattr(transformers, f"{kind}ForCausalLM")(config).eval()


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_gives_the_same_model(kind, tied, tmp_path):
    model = model_of(kind, tied)
    before = model.get_input_embeddings().weight.clone()
    model.save_pretrained(tmp_path / "float")
    octavo.torch.quantize_(model, "int8-dynamic", head="int8")
    want = logits(model)
    assert isinstance(model.get_output_embeddings(), QuantizedLinear)
    assert torch.equal(model.get_input_embeddings().weight, before)  # the table stays in float

    config = octavo.torch.OctavoConfig("int8-dynamic", head="int8")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "float", quantization_config=config).eval()
    assert torch.equal(logits(loaded), want)
    assert torch.equal(logits(octavo.torch.from_pretrained(tmp_path / "float", "int8-dynamic", head="int8")), want)

    model.save_pretrained(tmp_path / "saved")
    octavo.quantize_file(tmp_path / "float", tmp_path / "written", "int8-dynamic", head=True)
    for name in ("saved", "written"):
        declared = json.loads((tmp_path / name / "config.json").read_text())
        targets = [target for group in declared["quantization_config"]["config_groups"].values() for target in group["targets"]]
        assert declared["tie_word_embeddings"] is False and targets[0] == "Linear" and len(targets) == 2
        again = octavo.torch.from_pretrained(tmp_path / name)
        assert isinstance(again.get_output_embeddings(), QuantizedLinear) and torch.equal(logits(again), want)
        empty = model_of(kind, tied)
        octavo.torch.load_(empty, tmp_path / name)
        assert torch.equal(logits(empty), want)


def test_transformers_alone_loads_it(tmp_path):
    pytest.importorskip("compressed_tensors")
    model = model_of("Llama", True)
    want = logits(model)
    model.save_pretrained(tmp_path / "float")
    octavo.quantize_file(tmp_path / "float", tmp_path / "int8", head=True)
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "int8").eval()
    assert torch.nn.functional.cosine_similarity(logits(other), want, dim=-1).min() > 0.99


@pytest.mark.parametrize("scheme", ["int8-weight-only", "fp8-weight-only", "fp8-dynamic", "mxfp8"])
def test_schemes_of_their_own(scheme, tmp_path):
    model = model_of("Llama", True)
    model.save_pretrained(tmp_path / "float")
    mixed = model_of("Llama", True)
    octavo.torch.quantize_(mixed, "int8-dynamic", head=scheme)
    assert mixed.lm_head.scheme == scheme and mixed.model.layers[0].mlp.up_proj.scheme == "int8-dynamic"
    mixed.save_pretrained(tmp_path / "mixed")
    assert torch.equal(logits(octavo.torch.from_pretrained(tmp_path / "mixed")), logits(mixed))
    octavo.torch.quantize_(model, scheme, head=scheme)
    octavo.quantize_file(tmp_path / "float", tmp_path / "written", scheme, head=True)
    assert torch.equal(logits(octavo.torch.from_pretrained(tmp_path / "written")), logits(model))


def test_what_is_refused(tmp_path):
    model = model_of("Llama", False)
    with pytest.raises(ValueError, match=r"quantize_: head must be None for a model whose get_output_embeddings\(\) gives no linear layer"):
        octavo.torch.quantize_(model.model, head="int8")
    with pytest.raises(ValueError, match="scheme must be int8-dynamic, .*; got 'int9'"):
        octavo.torch.quantize_(model, head="int9")
    with pytest.raises(ValueError, match="from_pretrained: head must be None without a scheme; got 'int8'"):
        octavo.torch.from_pretrained(tmp_path, head="int8")
    model.save_pretrained(tmp_path / "float")
    for scheme in ("fp8-block", "llm-int8"):
        with pytest.raises(NotImplementedError, match=r"scheme must be int8-dynamic, .* for head \(--head\).*; got " + scheme):
            octavo.quantize_file(tmp_path / "float", tmp_path / scheme, scheme, head=True)
    model.model.save_pretrained(tmp_path / "base")
    with pytest.raises(NotImplementedError, match=r"head \(--head\) must be that of a class whose head is known .*; got model_type 'llama'"):
        octavo.quantize_file(tmp_path / "base", tmp_path / "base-int8", head=True)
