# SPDX-License-Identifier: Apache-2.0
"""Embeddings in 8 bits, in folders that compressed-tensors wrote: rows that are gathered, with the bits of the whole table."""

import copy
import json
import warnings

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
compressed_tensors = pytest.importorskip("compressed_tensors")

import small_models as small  # noqa: E402

import octavo  # noqa: E402
import octavo.torch  # noqa: E402
from octavo.torch.layers._quantized_embedding import QuantizedEmbedding  # noqa: E402

INT8 = {"num_bits": 8, "type": "int"}
FP8 = {"num_bits": 8, "type": "float"}
RULES = {"int8, rows": {**INT8, "strategy": "channel"}, "int8, table": {**INT8, "strategy": "tensor"},
         "int8, groups": {**INT8, "strategy": "group", "group_size": 32},
         "int8, zero points": {**INT8, "strategy": "channel", "symmetric": False},
         "fp8, rows": {**FP8, "strategy": "channel"}, "fp8, table": {**FP8, "strategy": "tensor"}}
FORMS = [(rule, form) for rule in RULES for form in
         (("float-quantized", "naive-quantized") if rule.startswith("fp8") else ("int-quantized", "pack-quantized"))]


@pytest.fixture(autouse=True)
def quiet():
    transformers.utils.logging.disable_progress_bar()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def written(folder, rule, form):
    """A Llama whose layers and embeddings compressed-tensors quantised and saved; the float model."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    model = small.made(small.llama)
    plain = copy.deepcopy(model)
    weights = RULES[rule]
    layers = {**weights, "strategy": "channel", "symmetric": True}
    layers.pop("group_size", None)
    config = QuantizationConfig(format=form, ignore=["lm_head"], config_groups={
        "table": {"targets": ["Embedding"], "weights": weights, "format": form},
        "layers": {"targets": ["Linear"], "weights": layers, "format": form}})
    apply_quantization_config(model, config)
    for module in model.modules():
        if scheme := getattr(module, "quantization_scheme", None):
            calibrate(module, scheme.weights)
    compressor = ModelCompressor.from_pretrained_model(model, quantization_format=form)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)
    return plain


def calibrate(module, weights):
    from compressed_tensors.quantization.utils import calculate_qparams

    values = module.weight.detach()
    if weights.strategy == "group":
        values = values.unflatten(-1, (-1, weights.group_size))
    least, most = (values.amin(-1), values.amax(-1)) if weights.strategy != "tensor" else (values.min()[None], values.max()[None])
    if weights.strategy == "channel":
        least, most = least[:, None], most[:, None]
    scale, zero = calculate_qparams(least, most, weights)
    module.weight_scale.data.copy_(scale)
    if getattr(module, "weight_zero_point", None) is not None:
        module.weight_zero_point.data.copy_(zero)


@pytest.mark.parametrize("rule, form", FORMS)
def test_a_table_of_the_tool_gives_rows_of_the_whole(rule, form, tmp_path):
    plain = written(tmp_path, rule, form)
    ids = small.tokens()
    model = octavo.torch.from_pretrained(tmp_path)
    table = model.get_input_embeddings()
    assert isinstance(table, QuantizedEmbedding)
    stored = octavo.open_checkpoint(tmp_path).weight("model.embed_tokens").quantized
    whole = torch.from_numpy(octavo.dequantize(stored, "float32"))
    assert torch.equal(table(ids), whole.to(table.weight.dtype)[ids]) and torch.equal(table.weight.values(torch.float32), whole)
    assert torch.nn.functional.cosine_similarity(small.outputs(model, ids), small.outputs(plain, ids), dim=-1).min() > 0.99
    own = octavo.torch.load_(small.made(small.llama), tmp_path)
    assert torch.equal(small.outputs(own, ids), small.outputs(model, ids))


def test_it_lives_as_a_layer_does(tmp_path):
    written(tmp_path / "tool", "int8, rows", "int-quantized")
    ids = small.tokens()
    model = octavo.torch.from_pretrained(tmp_path / "tool")
    want = small.outputs(model, ids)
    table = model.get_input_embeddings()
    other = copy.deepcopy(model)
    other.get_input_embeddings()._quantized.data.zero_()
    assert not torch.equal(small.outputs(other, ids), want)
    other.load_state_dict(model.state_dict())
    assert torch.equal(small.outputs(other, ids), want)
    compiled = torch.compile(table, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(ids), table(ids))
    assert copy.deepcopy(model).to(torch.bfloat16).get_input_embeddings()(ids).dtype == torch.bfloat16
    assert model.get_memory_footprint() < 1.2 * sum(file.stat().st_size for file in (tmp_path / "tool").glob("*.safetensors"))
    model.save_pretrained(tmp_path / "again")  # the table as its floats, which every reader has
    assert torch.equal(small.outputs(octavo.torch.from_pretrained(tmp_path / "again"), ids), want)


def test_what_is_no_plain_table_is_refused(tmp_path):
    written(tmp_path, "int8, rows", "int-quantized")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    with pytest.raises(NotImplementedError, match=r"embedding 'model.embed_tokens' of 8 bits must not be shared"):
        octavo.torch.from_pretrained(tmp_path)

    class Scaled(torch.nn.Embedding):
        def forward(self, ids):
            return super().forward(ids) * 2

    model = small.made(small.llama)
    model.model.embed_tokens = Scaled(small.VOCABULARY, 128)
    with pytest.raises(NotImplementedError, match=r"load_: embedding .* must stand for a torch.nn.Embedding; got Scaled"):
        octavo.torch.load_(model, tmp_path)
