# SPDX-License-Identifier: Apache-2.0
"""Small models of any class of transformers: its default configuration with small numbers."""

import copy
import re
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/architectures"))
from classes import OVERRIDES, limited  # noqa: E402

VOCABULARY = 128

# The first row whose expression is the whole name of a field gives its value. Heads times their size is the hidden size.
SIZES: tuple[tuple[str, int], ...] = (
    (r".*(_token_id|_token_index|_id|_idx|_index|_stride|stride|_type)", -1),
    (r"(max_|n_|num_)?(position_embeddings|positions|ctx)|max_position_embeddings|max_source_positions|max_target_positions", 128),
    (r"vocab_size|.*_vocab_size|vocab_size_.*", VOCABULARY),
    (r"num_key_value_heads|.*num_kv_heads|num_kv_heads|.*_key_value_heads|n_head_kv", 2),
    (r"(num_|n_)?(attention_)?heads?|num_attention_heads|.*_attention_heads|n_head|num_heads|encoder_heads|decoder_heads", 4),
    (r".*_head_dim|head_dim|d_kv|.*head_size|attention_head_dim|key_dim|value_dim", 16),
    (r"(num_|n_)?(hidden_)?layers?|.*num_layers|num_hidden_layers|.*_layers|n_layer|depth|num_blocks|.*_num_blocks", 2),
    (r"num_(local_)?experts|n_routed_experts|num_routed_experts|moe_num_experts|.*num_experts", 4),
    (r"num_experts_per_tok|num_experts_per_token|moe_k|top_k|moe_topk|num_selected_experts|.*_experts_per_tok", 2),
    (r"n_group|topk_group", 1),
    (r"first_k_dense_replace|moe_layer_start_index", 1),
    (r".*(intermediate_size|ffn_dim|inner_dim|d_ff|n_inner|d_inner|ffn_hidden_size)|mlp_hidden_size", 128),
    (r"q_lora_rank|kv_lora_rank|.*lora_rank|.*_lora_rank", 16),
    (r"qk_rope_head_dim|qk_nope_head_dim|v_head_dim", 16),
    (r".*(hidden_size|embed_dim|hidden_dim|d_model|n_embd|embedding_size|embedding_dim|projection_dim|hidden_sizes|emb_dim)|dim|width|model_dim", 64),
    (r"image_size|.*_image_size", 32),
    (r"patch_size|.*_patch_size", 8),
    (r"num_labels", 2),
)


def small_config(cls: type[PreTrainedModel]) -> PretrainedConfig:
    """The class's default configuration, with every size made small."""
    config_class: Any = cls.config_class
    config = config_class(**OVERRIDES.get(config_class.model_type, {}))
    _shrink(config, 0)
    return config


def _shrink(config, level):
    for name, value in list(vars(config).items()):
        if isinstance(value, PretrainedConfig) and level < 4:
            _shrink(value, level + 1)
        elif type(value) is int and value > 0:
            small = _token(value) if re.fullmatch(r".*_token_(id|index)", name) else _small(name)
            if small is not None and small < value:
                _set(config, name, small)
        elif isinstance(value, dict) and name in ("text_config", "vision_config"):
            continue
        elif isinstance(value, list) and name.endswith("hidden_sizes"):
            _set(config, name, [32 * (1 + i) for i in range(len(value))])
        elif isinstance(value, list) and name in ("layer_types", "mlp_layer_types", "layers_block_type"):
            _set(config, name, value[:2] if len(set(value[:2])) > 1 or len(set(value)) == 1 else sorted(set(value))[:2])


def _token(value):
    """Ids below the small vocabulary, and apart from each other where they were."""
    return value if value < VOCABULARY else VOCABULARY // 2 + value % (VOCABULARY // 2)


def _small(name):
    for pattern, size in SIZES:
        if re.fullmatch(pattern, name):
            return None if size < 0 else size
    return None


def _set(config, name, value):
    try:
        setattr(config, name, value)
    except Exception:  # a field that its class computes
        pass


def small_model(cls: type[PreTrainedModel], seed: int = 0) -> PreTrainedModel:
    """A small model with random weights of the seed; every float parameter is other than its first values.

    Raises: what the class raises for the small configuration, ValueError (it is not small).
    """
    config = copy.deepcopy(small_config(cls))
    with limited(60):
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in cls(copy.deepcopy(config)).parameters())
        if count > 12_000_000:
            raise ValueError(f"a small model must have at most 12 million parameters; got {count}")
        torch.manual_seed(seed)
        model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.is_floating_point() and parameter.ndim > 1:
                parameter.normal_(0.0, 1.0 / max(parameter.shape[-1], 1) ** 0.5)
    model.tie_weights()
    return model
