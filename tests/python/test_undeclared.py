# SPDX-License-Identifier: Apache-2.0
"""save_pretrained of models that quantize_ has changed: an error, and nothing written, instead of a folder that
does not say what it holds."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import octavo.torch  # noqa: E402

SENTENCE = r"save_pretrained: model must have no frozen layers of quantize_ .*; got '{}', {}"


@pytest.fixture
def model():
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=4))


@pytest.mark.parametrize("scheme, part", [("int8-dynamic", ""), ("fp8-dynamic", "model"), ("fp8-block", ""),
                                          ("llm-int8", "model.layers.0.mlp")])
def test_a_quantised_model_is_not_saved_undeclared(model, tmp_path, scheme, part):
    """Whichever part of the model was quantised."""
    octavo.torch.quantize_(model.get_submodule(part), scheme)
    first = next(name for name, layer in model.named_modules() if getattr(layer, "frozen", False))
    folder = tmp_path / "saved"
    with pytest.raises(NotImplementedError, match=SENTENCE.format(first, scheme)):
        model.save_pretrained(folder)
    assert not folder.exists()


def test_what_can_be_saved_is(model, tmp_path):
    """A model that was left alone; float weights in training; and a state of the caller's own."""
    other = transformers.LlamaForCausalLM(model.config)
    octavo.torch.quantize_(other)
    model.save_pretrained(tmp_path / "plain")
    floats = model.state_dict()
    octavo.torch.quantize_(model, freeze=False)
    model.save_pretrained(tmp_path / "trains")
    again = transformers.LlamaForCausalLM.from_pretrained(tmp_path / "trains").state_dict()
    assert all(torch.equal(again[name], t) for name, t in floats.items())
    other.save_pretrained(tmp_path / "own", state_dict=floats)


def test_adapters_are_saved(model, tmp_path):
    peft = pytest.importorskip("peft")
    octavo.torch.quantize_(model)
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["lm_head"]))
    adapted.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
