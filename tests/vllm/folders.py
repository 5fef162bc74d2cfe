# SPDX-License-Identifier: Apache-2.0
"""Small models with random weights, and their folders in 8 bits: FOLDERS has each folder's model and how it is made."""

import json
import shutil
import subprocess
from pathlib import Path

import safetensors.torch
import torch

SIZES = {"vocab_size": 512, "hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 256, "tie_word_embeddings": False}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 128}
MODELS = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", SIZES),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", SIZES | {"head_dim": 64}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", SIZES | EXPERTS | {"head_dim": 64, "num_experts": 8, "decoder_sparse_step": 1,
                                                                            "norm_topk_prob": True}),
    "llama-tied": ("LlamaForCausalLM", "LlamaConfig", SIZES | {"tie_word_embeddings": True}),
    "llama-long": ("LlamaForCausalLM", "LlamaConfig", SIZES | {"num_hidden_layers": 1, "max_position_embeddings": 2048}),
    "qwen3-moe-long": ("Qwen3MoeForCausalLM", "Qwen3MoeConfig", SIZES | EXPERTS | {
        "head_dim": 64, "num_experts": 8, "decoder_sparse_step": 1, "norm_topk_prob": True, "num_hidden_layers": 1,
        "max_position_embeddings": 2048}),
    "mistral": ("MistralForCausalLM", "MistralConfig", SIZES | {"sliding_window": 16}),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", SIZES | {"head_dim": 64, "sliding_window": 16, "query_pre_attn_scalar": 64,
                                                               "layer_types": ["sliding_attention", "full_attention"]}),
    # vLLM's MLA takes heads of 512 + 64 alone.
    "deepseek-v2": ("DeepseekV2ForCausalLM", "DeepseekV2Config", SIZES | EXPERTS | {
        "num_key_value_heads": 4, "kv_lora_rank": 512, "q_lora_rank": 128, "qk_rope_head_dim": 64, "qk_nope_head_dim": 64, "v_head_dim": 64,
        "n_routed_experts": 8, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}),
}
BLOCKS_OF_MLA = ("--ignore", "re:.*q_a_proj")  # vLLM joins it to a layer whose size no block divides
FOLDERS = {
    "llama-int8": ("llama", "int8-dynamic"), "llama-fp8": ("llama", "fp8-dynamic"), "llama-block": ("llama", "fp8-block"),
    "llama-int8-weight": ("llama", "int8-weight-only"), "llama-fp8-weight": ("llama", "fp8-weight-only"), "llama-mx": ("llama", "mxfp8"),
    "llama-int8-head": ("llama", "int8-dynamic", "--head"), "llama-tied-int8-head": ("llama-tied", "int8-dynamic", "--head"),
    "llama-tied-mx-head": ("llama-tied", "mxfp8", "--head"),
    "qwen3-int8": ("qwen3", "int8-dynamic"), "qwen3-moe-int8": ("qwen3-moe", "int8-dynamic", "--experts", "separate"),
    "qwen3-moe-fp8": ("qwen3-moe", "fp8-dynamic"), "qwen3-moe-block": ("qwen3-moe", "fp8-block"), "qwen3-moe-mx": ("qwen3-moe", "mxfp8", "--experts", "separate"),
    "deepseek-v2-int8": ("deepseek-v2", "int8-dynamic", "--experts", "separate"), "deepseek-v2-fp8": ("deepseek-v2", "fp8-dynamic"),
    "deepseek-v2-block": ("deepseek-v2", "fp8-block", *BLOCKS_OF_MLA),
}
LONG = {  # for contexts, not for layers
    "llama-long-int8": ("llama-long", "int8-dynamic"), "llama-long-int8-head": ("llama-long", "int8-dynamic", "--head"),
    "qwen3-moe-long-int8-head": ("qwen3-moe-long", "int8-dynamic", "--head", "--experts", "separate"), "mistral-int8": ("mistral", "int8-dynamic"),
    "gemma3-int8": ("gemma3", "int8-dynamic"),
}
# Of llm-compressor's forms that `octavo quantize` does not write: changes of what a group of the configuration says of
# activations and of weights, and tensors of each layer.
STATIC = {"dynamic": False, "strategy": "tensor"}
GROUPS = 128
AS_OTHERS_WRITE = {
    "llama-int8-static": ("llama-int8", STATIC, {}, {"input_scale": torch.tensor([0.03])}),
    "llama-int8-zero-points": ("llama-int8", {"symmetric": False}, {}, {}),
    "llama-int8-static-zero-points": ("llama-int8", STATIC | {"symmetric": False}, {},
                                      {"input_scale": torch.tensor([0.03]), "input_zero_point": torch.tensor([-9], dtype=torch.int8)}),
    "llama-fp8-static": ("llama-fp8", STATIC, {}, {"input_scale": torch.tensor([0.01])}),
    "llama-int8-weight-groups": ("llama-int8-weight", {}, {"strategy": "group", "group_size": GROUPS}, {"weight_scale": GROUPS}),
}
AS_GPTQ_WRITES = {"llama-gptq": -1, "llama-gptq-groups": GROUPS}  # columns of a group


def float_model(folder: Path) -> Path:
    import transformers

    architecture, config, sizes = MODELS[folder.name]
    if not folder.exists():
        torch.manual_seed(0)
        model = getattr(transformers, architecture)(getattr(transformers, config)(**sizes))
        model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def coded_model(root: Path, name: str) -> Path:
    """The folder of that name, made where it is not there yet."""
    folder = root / name
    if folder.exists():
        return folder
    if written := (FOLDERS | LONG).get(name):
        model, scheme, *more = written
        subprocess.run(["octavo", "quantize", float_model(root / model), folder, "--scheme", scheme, "--quiet", *more], check=True)
        return folder
    if name in AS_GPTQ_WRITES:
        return gptq_model(coded_model(root, "llama-int8-weight"), folder, AS_GPTQ_WRITES[name])
    source, activations, weights, tensors = AS_OTHERS_WRITE[name]
    shutil.copytree(coded_model(root, source), folder)
    config = json.loads((folder / "config.json").read_text())
    for group in config["quantization_config"]["config_groups"].values():
        group["weights"] |= weights
        if activations:
            group["input_activations"] |= activations
    (folder / "config.json").write_text(json.dumps(config))
    stored = safetensors.torch.load_file(folder / "model.safetensors")
    layers = [name.removesuffix(".weight_scale") for name in stored if name.endswith(".weight_scale")]
    for layer in layers:
        for name, value in tensors.items():
            if value is GROUPS:  # a channel's scale is that of each of its groups
                value = stored[f"{layer}.weight_scale"].repeat(1, int(stored[f"{layer}.weight_shape"][1]) // GROUPS)
            stored[f"{layer}.{name}"] = value.clone()
    safetensors.torch.save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder


def gptq_model(source: Path, folder: Path, group: int) -> Path:
    """The codes of a folder of int8 weights by channel as GPTQ's tools write them: along K, with zero points of 128."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 8, "group_size": group, "desc_act": False, "sym": True, "lm_head": False}
    (folder / "config.json").write_text(json.dumps(config))
    stored = safetensors.torch.load_file(folder / "model.safetensors")
    for layer in [name.removesuffix(".weight_packed") for name in stored if name.endswith(".weight_packed")]:
        packed, scale, shape = (stored.pop(f"{layer}.{part}") for part in ("weight_packed", "weight_scale", "weight_shape"))
        n, k = shape.tolist()
        groups = 1 if group == -1 else k // group
        stored |= {f"{layer}.qweight": packed.t().contiguous(), f"{layer}.scales": scale.t().repeat(groups, 1).half(),
                   f"{layer}.qzeros": torch.full((groups, n), 127, dtype=torch.uint8).view(torch.int32),  # stored less one
                   f"{layer}.g_idx": torch.arange(k, dtype=torch.int32) // (k // groups)}
    safetensors.torch.save_file(stored, folder / "model.safetensors", {"format": "pt"})
    return folder
