# SPDX-License-Identifier: Apache-2.0
"""Encoders: embeddings, cross-encoders and rerankers in 8 bits, by transformers and by sentence-transformers."""

import json

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import small_models as small  # noqa: E402

import octavo.torch  # noqa: E402
from octavo.torch import OctavoConfig  # noqa: E402

WORDS = ["a", "small", "house", "by", "the", "river", "what", "is", "it", "lives", "there"]
SENTENCES = ["a small house by the river", "what is it", "the river"]
PAIRS = [("what is it", "a small house"), ("the river", "it lives there by the house")]
ENCODERS = {
    "bert": (transformers.BertConfig(**small.SIZES, num_labels=1), transformers.BertModel, transformers.BertForSequenceClassification),
    "modernbert": (transformers.ModernBertConfig(**small.SIZES, num_labels=1, pad_token_id=0, global_attn_every_n_layers=2),
                   transformers.ModernBertModel, transformers.ModernBertForSequenceClassification),
}
QUANTIZED = {"bert": 12, "modernbert": 8}  # two blocks: query, key, value and output apart or as Wqkv and Wo; two in the MLP


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module", params=ENCODERS)
def folders(request, tmp_path_factory):
    """The kind, and float folders of the bare encoder and of the one with a head, each with a tokenizer."""
    config, *classes = ENCODERS[request.param]
    paths = []
    for number, cls in enumerate(classes):
        paths.append(tmp_path_factory.mktemp(f"{request.param}{number}"))
        torch.manual_seed(number)
        cls(config).save_pretrained(paths[-1])
        vocabulary = paths[-1] / "vocab.txt"
        vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
        transformers.BertTokenizerFast(vocab=str(vocabulary), model_max_length=32).save_pretrained(paths[-1])
    return request.param, *paths


def same(model, other, ids):
    """Whether what the last block gives has the same bits. Heads in float may differ in the last one: PyTorch's product of a few
    columns depends on where its weight lies in memory."""
    with torch.inference_mode():
        first, second = (each(ids, output_hidden_states=True).hidden_states[-1] for each in (model, other))
    heads = [{name: value for name, value in each.state_dict().items() if "classifier" in name} for each in (model, other)]
    return torch.equal(first, second) and heads[0].keys() == heads[1].keys() and \
        all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])


def layers_of(model):
    return [name for name, module in model.named_modules() if isinstance(module, octavo.torch.nn.Int8Linear) and module.frozen]


def test_auto_classes_load_save_and_load_again(folders, tmp_path):
    """The same bits as quantize_, and after save_pretrained; a head of classes stays in float."""
    kind, bare, headed = folders
    for auto, source in ((transformers.AutoModel, bare), (transformers.AutoModelForSequenceClassification, headed)):
        model = auto.from_pretrained(source, quantization_config=OctavoConfig("int8-dynamic"))
        expected = auto.from_pretrained(source)
        octavo.torch.quantize_(expected, "int8-dynamic")
        ids = small.tokens()
        assert same(model, expected, ids)
        names = layers_of(model)
        assert len(names) == QUANTIZED[kind] + any(name.endswith(("pooler.dense", "head.dense")) for name in names)
        assert not any("classifier" in name for name in names)
        model.save_pretrained(tmp_path / auto.__name__)
        again = auto.from_pretrained(tmp_path / auto.__name__)
        assert layers_of(again) == layers_of(model)
        assert same(again, model, ids)


def predicted(model):
    """The scores of PAIRS, and what the head in float gets."""
    found = []
    head, = (module for name, module in model.named_modules() if name.endswith("classifier"))
    handle = head.register_forward_pre_hook(lambda module, args: found.append(args[0]))
    scores = model.predict(PAIRS)
    handle.remove()
    return scores, found[0]


def test_sentence_transformers_embeds_saves_and_loads_again(folders, tmp_path):
    """The same embeddings from the folder that it saves, and from that of a model that was loaded."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    kind, bare, _ = folders
    floats = sentence_transformers.SentenceTransformer(str(bare), device="cpu")
    model = sentence_transformers.SentenceTransformer(str(bare), device="cpu",
                                                      model_kwargs={"quantization_config": OctavoConfig("int8-dynamic")})
    assert len(layers_of(model)) >= QUANTIZED[kind]
    found = model.encode(SENTENCES, convert_to_tensor=True)
    assert small.cosine(found, floats.encode(SENTENCES, convert_to_tensor=True)) >= 0.99
    for folder in ("first", "second"):
        model.save_pretrained(str(tmp_path / folder))
        assert json.loads((tmp_path / folder / "config.json").read_text())["quantization_config"]["octavo"]["scheme"] == "int8-dynamic"
        model = sentence_transformers.SentenceTransformer(str(tmp_path / folder), device="cpu")
        assert len(layers_of(model)) >= QUANTIZED[kind]
        assert torch.equal(model.encode(SENTENCES, convert_to_tensor=True), found)


def test_cross_encoders_score_rank_and_load_again(folders, tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    kind, _, headed = folders
    options = {"device": "cpu", "model_kwargs": {"quantization_config": OctavoConfig("int8-dynamic")}}
    model = sentence_transformers.CrossEncoder(str(headed), **options)
    scores, inputs = predicted(model)
    assert scores.shape == (2,) and scores == pytest.approx(sentence_transformers.CrossEncoder(str(headed), device="cpu").predict(PAIRS), rel=0.05)
    ranks = [row["corpus_id"] for row in model.rank(SENTENCES[1], SENTENCES)]
    assert sorted(ranks) == [0, 1, 2]
    model.save_pretrained(str(tmp_path))
    again = sentence_transformers.CrossEncoder(str(tmp_path), device="cpu")
    assert len(layers_of(again)) >= QUANTIZED[kind]
    assert torch.equal(predicted(again)[1], inputs)
    assert [row["corpus_id"] for row in again.rank(SENTENCES[1], SENTENCES)] == ranks
