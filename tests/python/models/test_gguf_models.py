# SPDX-License-Identifier: Apache-2.0
"""Models in GGUF files become folders of transformers: values, rows of heads, config.json, tokenizer.json."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")
hf = pytest.importorskip("transformers")
gguf = pytest.importorskip("gguf")
tokenizers = pytest.importorskip("tokenizers")

import small_models as small  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import octavo  # noqa: E402
import octavo.torch  # noqa: E402

Q8_0, F16, F32 = gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.F32


def llama_with_biases():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**small.GROUPED, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5,
                                              tie_word_embeddings=True))


def llama_of_wide_heads():
    return hf.LlamaForCausalLM(hf.LlamaConfig(**small.GROUPED, head_dim=64, rope_theta=500000.0))


def qwen3():
    return hf.Qwen3ForCausalLM(hf.Qwen3Config(**small.GROUPED, head_dim=64))


MAKERS = (small.llama, llama_with_biases, llama_of_wide_heads, small.qwen2, qwen3)


def made(maker):
    """A model whose biases and norms are not alike, and whose values float16 has."""
    model = small.made(maker)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter + 0.05 * torch.randn_like(parameter)).half())
    return model


def permuted(rows, heads):
    """llama.cpp's order of rows of query and key: of each head one of the first half, one of the second."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def stored(model, name, value):
    config = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    module = name.split(".")[-2]
    if config.model_type == "llama" and module in heads:
        return permuted(value, heads[module])
    return value


def write_config(writer, config):
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def write_model(model, path, kind=Q8_0, add=lambda writer: None):
    """Writes a model as llama.cpp's converter does: matrices in a type, vectors in float32."""
    config = model.config
    architecture = getattr(gguf.MODEL_ARCH, config.model_type.upper())
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    writer = gguf.GGUFWriter(path, config.model_type)
    write_config(writer, config)
    add(writer)
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        value = stored(model, name, value.float().numpy())
        type = kind if value.ndim == 2 else F32
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")),
                          gguf.quants.quantize(np.ascontiguousarray(value), type), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def rounded(model, kind):
    """The model with the values that the file holds."""
    state = {name: torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(value.float().numpy(), kind), kind))
             if value.ndim == 2 else value for name, value in model.state_dict().items()}
    model.load_state_dict(state)
    return model.eval()


@pytest.mark.parametrize("kind", (Q8_0, F16), ids=lambda kind: kind.name)
@pytest.mark.parametrize("maker", MAKERS, ids=small.name_of)
def test_a_dequantised_file_is_the_model(maker, kind, tmp_path, recwarn):
    model = made(maker)
    write_model(model, tmp_path / "model.gguf", kind)
    model = rounded(model, kind)
    if kind == F16:  # nothing to dequantise: layers are quantised
        octavo.quantize_file(tmp_path / "model.gguf", tmp_path / "model", "int8-dynamic")
        model.half().save_pretrained(tmp_path / "float")
        octavo.quantize_file(tmp_path / "float", tmp_path / "want", "int8-dynamic")
        got, want = (octavo.torch.from_pretrained(tmp_path / name) for name in ("model", "want"))
    else:
        octavo.checkpoints.dequantize_file(tmp_path / "model.gguf", tmp_path / "model", "float32")
        got, want = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "model"), model
    assert torch.equal(small.outputs(got, small.tokens()), small.outputs(want, small.tokens()))


@pytest.mark.parametrize("maker", MAKERS, ids=small.name_of)
def test_a_converted_file_has_its_codes(maker, tmp_path, recwarn):
    model = made(maker)
    write_model(model, tmp_path / "model.gguf")
    octavo.checkpoints.convert_file(tmp_path / "model.gguf", tmp_path / "codes", "compressed-tensors")
    octavo.checkpoints.dequantize_file(tmp_path / "codes", tmp_path / "float", "float32")
    want = rounded(model, Q8_0).state_dict()
    found = load_file(tmp_path / "float" / "model.safetensors")
    assert found.keys() == {name for name in want if name != "lm_head.weight" or not model.config.tie_word_embeddings}
    for name, value in found.items():
        assert torch.equal(value, want[name]), name
    codes = octavo.open_checkpoint(tmp_path / "codes")
    assert len(codes.quantized_layers()) >= 7 * model.config.num_hidden_layers
    loaded = octavo.torch.from_pretrained(tmp_path / "codes")
    assert small.cosine(small.outputs(loaded, small.tokens()), small.outputs(model, small.tokens())) > 0.999


def test_config_json_says_what_the_model_had(tmp_path, recwarn):
    model = made(llama_with_biases)
    write_model(model, tmp_path / "model.gguf")
    octavo.checkpoints.dequantize_file(tmp_path / "model.gguf", tmp_path / "model")
    found = hf.AutoConfig.from_pretrained(tmp_path / "model")
    same = ("hidden_size", "num_hidden_layers", "intermediate_size", "num_attention_heads", "num_key_value_heads",
            "rms_norm_eps", "rope_parameters", "max_position_embeddings", "tie_word_embeddings", "attention_bias",
            "mlp_bias", "vocab_size", "hidden_act")
    assert {name: getattr(found, name) for name in same} == {name: getattr(model.config, name) for name in same}


def llama3_factors(config):
    """What llama.cpp's converter makes of Llama 3.1's rule, in float32."""
    rule, head = config.rope_parameters, config.head_dim
    frequencies = 1 / rule["rope_theta"] ** (torch.arange(0, head, 2, dtype=torch.float32) / head)
    low, high, length = rule["low_freq_factor"], rule["high_freq_factor"], rule["original_max_position_embeddings"]
    wavelengths = 2 * np.pi / frequencies
    smooth = (length / wavelengths - low) / (high - low)
    factors = 1 / ((1 - smooth) / rule["factor"] + smooth)
    factors = torch.where(wavelengths < length / high, torch.ones(()), factors)
    return torch.where(wavelengths > length / low, torch.tensor(float(rule["factor"])), factors).numpy()


@pytest.mark.parametrize("head", (32, 96, 128))
@pytest.mark.parametrize("factor", (8.0, 32.0))
def test_factors_of_llama_3_are_its_rule(factor, head, tmp_path):
    rule = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}
    model = made(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**small.GROUPED, head_dim=head, rope_parameters=rule)))
    factors = llama3_factors(model.config)
    assert factors[0] == 1 and factors[-1] == factor
    write_model(model, tmp_path / "first.gguf", add=lambda writer: writer.add_tensor("rope_freqs.weight", factors))
    save(model, tmp_path / "float")
    with pytest.warns(UserWarning, match="no tokenizer"):
        octavo.quantize_file(tmp_path / "float", tmp_path / "second.gguf")
    assert read(tmp_path / "second.gguf")[1]["rope_freqs.weight"][1].shape == factors.shape
    for name in ("first", "second"):
        with pytest.warns(UserWarning, match="the folder has none"):
            octavo.checkpoints.dequantize_file(tmp_path / f"{name}.gguf", tmp_path / name)
        found = hf.AutoConfig.from_pretrained(tmp_path / name)
        assert found.rope_parameters == model.config.rope_parameters


REFUSALS = {
    "experts": (lambda writer: writer.add_uint32("llama.expert_count", 8), "llama.expert_count must be 0 or absent"),
    "rope": (lambda writer: writer.add_string("llama.rope.scaling.type", "longrope"), "must be none, linear or yarn"),
    "factors": (lambda writer: writer.add_tensor("rope_freqs.weight", np.full(16, 8, np.float32)), "of Llama 3.1's rule"),
    "tensor": (lambda writer: writer.add_tensor("blk.0.other.weight", np.ones(16, np.float32)), "'blk.0.other.weight'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_models_without_a_folder_are_refused_by_name(case, tmp_path):
    add, sentence = REFUSALS[case]
    write_model(made(small.llama), tmp_path / "model.gguf", add=add)
    with pytest.raises(NotImplementedError, match=f"convert_file: .*{sentence}"):
        octavo.checkpoints.convert_file(tmp_path / "model.gguf", tmp_path / "out", "compressed-tensors")
    assert not (tmp_path / "out").exists()


def test_other_architectures_are_refused_by_name(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "gemma3")
    writer.add_tensor("x.weight", gguf.quants.quantize(np.full((2, 32), 127, np.float32), Q8_0), raw_dtype=Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(NotImplementedError, match="general.architecture must be llama, qwen2 or qwen3; got 'gemma3'"):
        octavo.checkpoints.convert_file(tmp_path / "x.gguf", tmp_path / "out", "compressed-tensors")
    # A file keeps its own names, whatever they are.
    octavo.checkpoints.dequantize_file(tmp_path / "x.gguf", tmp_path / "x.safetensors", "float32")
    assert (octavo.open_checkpoint(tmp_path / "x.safetensors")["x.weight"] == 127).all()


TEXTS = ("It's 12345 o'clock, don't you think?  \n\n  They'LL come — naïve café, Ünïcödé 한국어 日本語 🙂\t\tx = y+1;",
         " leading and trailing ", "e\u0301 composed", "<|im_start|>user\nhi<|im_end|>", "CAN'T 1 22 333 4444\r\n")
CORPUS = [text for text in TEXTS for _ in range(3)] + ["the quick brown fox jumps over the lazy dog 0123456789"] * 3
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def cut(pre):
    """How the tokenizer of that name normalises and cuts text."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split

    bytes_of = ByteLevel(add_prefix_space=False)
    if pre == "qwen2":
        backend = hf.Qwen2Tokenizer(vocab={"a": 0}, merges=[])._tokenizer
        return backend.normalizer, backend.pre_tokenizer
    if pre == "llama-bpe":
        return None, Sequence([Split(tokenizers.Regex(LLAMA3), "isolated"),
                               ByteLevel(add_prefix_space=False, use_regex=False)])
    return None, Sequence([Digits(individual_digits=True), bytes_of]) if pre == "smollm" else bytes_of


def trained(pre):
    """A small tokenizer that cuts text so."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=pre == "llama-bpe"))
    normalizer, backend.pre_tokenizer = cut(pre)
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.decoder = tokenizers.decoders.ByteLevel()
    backend.train_from_iterator(CORPUS, tokenizers.trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return backend


def add_tokenizer(writer, backend, pre, **flags):
    content = json.loads(backend.to_str())
    tokens = sorted(backend.get_vocab(), key=backend.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in content["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    for name, value in flags.items():
        getattr(writer, f"add_{name}")(value)


@pytest.mark.parametrize("pre", ("gpt-2", "smollm", "qwen2", "llama-bpe"))
def test_the_tokenizer_cuts_text_as_it_did(pre, tmp_path, recwarn):
    backend = trained(pre)
    template = "{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    write_model(made(small.llama), tmp_path / "model.gguf",
                add=lambda writer: add_tokenizer(writer, backend, pre, chat_template=template))
    octavo.checkpoints.convert_file(tmp_path / "model.gguf", tmp_path / "out", "compressed-tensors")
    found = hf.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in TEXTS:
        want = backend.encode(text).ids
        assert found.encode(text, add_special_tokens=False) == want
        assert found.encode(text) == ([0, *want] if pre == "llama-bpe" else want)
        assert found.decode(want) == backend.decode(want, skip_special_tokens=False)
    assert (found.bos_token_id, found.eos_token_id, found.all_special_ids) == (0, 2, [0, 2])
    assert found.apply_chat_template([{"content": "hi"}], tokenize=False) == "<|im_start|>hi<|im_end|>"


def test_a_tokenizer_that_is_not_known_is_left_out_with_a_warning(tmp_path):
    backend = trained("gpt-2")
    write_model(made(small.llama), tmp_path / "model.gguf",
                add=lambda writer: add_tokenizer(writer, backend, "unheard-of"))
    with pytest.warns(UserWarning, match="got 'gpt2' and 'unheard-of', so the folder has none"):
        octavo.checkpoints.convert_file(tmp_path / "model.gguf", tmp_path / "out", "compressed-tensors")
    assert not (tmp_path / "out" / "tokenizer.json").exists()


def read(path):
    """The keys and the raw tensors of a file, by llama.cpp's own reader."""
    reader = gguf.GGUFReader(path)
    keys = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return keys, {tensor.name: (tensor.tensor_type, np.array(tensor.data)) for tensor in reader.tensors}


def save(model, folder, dtype=torch.float32):
    """A float model's folder, its rotary buffers as they were."""
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict={name: value.to(dtype) for name, value in model.state_dict().items()})


@pytest.mark.parametrize("dtype", (torch.float32, torch.float16), ids=str)
@pytest.mark.parametrize("maker", MAKERS, ids=small.name_of)
def test_a_written_file_is_that_of_llama_cpps_package(maker, dtype, tmp_path):
    model = made(maker)
    with torch.no_grad():  # rows of which blocks are zero, subnormal, or have a tie
        rows = model.model.embed_tokens.weight
        rows[0], rows[1], rows[2, :32] = 0, 1e-36 if dtype == torch.float32 else 0, torch.arange(32) + 0.5
        rows[2, 0] = 127
    write_model(model, tmp_path / "want.gguf")
    save(model, tmp_path / "model", dtype)
    report = octavo.quantize_file(tmp_path / "model", tmp_path / "got.gguf")
    want_keys, want = read(tmp_path / "want.gguf")
    keys, got = read(tmp_path / "got.gguf")
    assert got.keys() == want.keys()
    for name, (kind, data) in want.items():
        assert got[name][0] == kind
        np.testing.assert_array_equal(got[name][1], data, err_msg=name)
    assert {name: keys.get(name) for name in want_keys} == want_keys
    assert {layer.name for layer in report.layers} >= {"model.embed_tokens", "model.layers.0.mlp.down_proj"}


@pytest.mark.parametrize("pre", ("gpt-2", "smollm", "qwen2", "llama-bpe"))
def test_a_tokenizer_goes_there_and_back(pre, tmp_path, recwarn):
    backend = trained(pre)
    sizes = small.GROUPED | {"vocab_size": backend.get_vocab_size()}
    write_model(made(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**sizes))), tmp_path / "first.gguf",
                add=lambda writer: add_tokenizer(writer, backend, pre, chat_template="{{ messages }}"))
    octavo.checkpoints.dequantize_file(tmp_path / "first.gguf", tmp_path / "model", "float32")
    octavo.quantize_file(tmp_path / "model", tmp_path / "second.gguf")
    (first, blocks), (second, again) = read(tmp_path / "first.gguf"), read(tmp_path / "second.gguf")
    same = [name for name in first if name.startswith(("tokenizer.", "llama."))]
    assert len(same) > 12
    vocabulary = len(first["tokenizer.ggml.tokens"])
    for name in same:
        assert second[name] == first[name], name
    assert vocabulary == len(second["tokenizer.ggml.tokens"])
    for name, (kind, data) in blocks.items():
        if kind == F32:
            np.testing.assert_array_equal(again[name][1], data)


def test_a_folder_without_a_tokenizer_has_a_file_without_one(tmp_path):
    save(made(small.qwen2), tmp_path / "model")
    with pytest.warns(UserWarning, match="got no such file, so the file has no tokenizer"):
        octavo.quantize_file(tmp_path / "model", tmp_path / "x.gguf")
    assert read(tmp_path / "x.gguf")[0]["tokenizer.ggml.model"] == "none"


def test_what_no_file_of_llama_cpp_has_is_refused(tmp_path):
    save(made(small.llama), tmp_path / "llama")
    save(small.made(small.gpt2), tmp_path / "gpt2")
    with pytest.raises(NotImplementedError, match="model_type of config.json must be llama, qwen2 or qwen3; got 'gpt2'"):
        octavo.quantize_file(tmp_path / "gpt2", tmp_path / "x.gguf")
    with pytest.raises(ValueError, match="options.scheme must be int8-dynamic or int8-weight-only.*got fp8-dynamic"):
        octavo.quantize_file(tmp_path / "llama", tmp_path / "x.gguf", "fp8-dynamic")
    for option, value in {"ignore": ["lm_head"], "head": True, "rotation": 16, "experts": "float", "requantize": True}.items():
        with pytest.raises(ValueError, match=f"options.{option} must be unset where out is a GGUF file"):
            octavo.quantize_file(tmp_path / "llama", tmp_path / "x.gguf", **{option: value})
    octavo.quantize_file(tmp_path / "llama", tmp_path / "codes", "int8-dynamic")
    with pytest.raises(ValueError, match="must hold float weights where out is a GGUF file; got 14 quantised"):
        octavo.quantize_file(tmp_path / "codes", tmp_path / "x.gguf")
    config = json.loads((tmp_path / "llama" / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "longrope", "rope_theta": 500000.0}
    (tmp_path / "llama" / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotImplementedError, match="rope_type default, linear, yarn or, of Llama, llama3.*got .*'longrope'"):
        octavo.quantize_file(tmp_path / "llama", tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()
