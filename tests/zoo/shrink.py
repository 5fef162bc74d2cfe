# SPDX-License-Identifier: Apache-2.0
"""Small models of any class of transformers: its default configuration with small numbers."""

import copy
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import PretrainedConfig, PreTrainedModel

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/architectures"))
from classes import OVERRIDES, limited  # noqa: E402

VOCABULARY = 128
MOST = 40_000_000  # parameters
SECONDS = 60  # to build one


class Size(NamedTuple):
    """What fields of a configuration with that name become; None: they stay."""

    kind: str
    names: str  # an expression of the whole name
    small: int | None


# The first row that fits a name counts. Heads times their size is the hidden size.
SIZES = (
    Size("ids", r".*(_id|_idx|_index|stride|_type)|num_(feat_extract|conv_pos).*", None),
    Size("positions", r"(max_|n_|num_)?(position_embeddings|positions|ctx)|max_(source|target)_positions", 128),
    Size("vocabulary", r"vocab_size|.*_vocab_size|vocab_size_.*", VOCABULARY),
    Size("kv heads", r"(.*_|n_head_)?(num_)?(key_value_heads|kv_heads|kv)", 2),
    Size("heads", r"(.*_)?(num_|n_)?(attention_)?heads?", 4),
    Size("inner head size", r".*_d_head", 32),
    Size("head size", r".*head_dim|d_kv|.*head_size|key_dim|value_dim", 16),
    Size("layers", r"(num_|n_)?(hidden_)?layers?|.*_layers|n_layer|depth|(.*_)?num_blocks", 2),
    Size("experts", r".*num_(local_|routed_)?experts|n_routed_experts", 4),
    Size("experts", r"num_(experts_per_tok(en)?|selected_experts)|.*_experts_per_tok|moe_(k|topk)|top_k", 2),
    Size("experts", r"n_group|topk_group|first_k_dense_replace|moe_layer_start_index", 1),
    Size("inner", r".*(intermediate_size|ffn_dim|inner_dim|d_ff|n_inner|d_inner|ffn_hidden_size)|mlp_hidden_size", 128),
    Size("ranks", r".*lora_rank", 16),
    Size("hidden", r".*(hidden_size|embed_dim|hidden_dim|d_model|n_embd|embedding_(size|dim)|projection_dim|emb_dim)|"
                   r"dim|width|model_dim", 64),
    Size("image", r"(.*_)?image_size", 32),
    Size("patch", r"(.*_)?patch_size", 8),
    Size("labels", r"num_labels", 2),
)
# What is left as it is, in the order of trying: fields that hang together in some classes.
LEFT = ((), ("kv heads",), ("layers",), ("heads", "kv heads"), ("layers", "kv heads"), ("heads", "kv heads", "head size", "hidden"),
        ("heads", "kv heads", "head size", "hidden", "layers"))


def small_config(cls: type[PreTrainedModel], left: tuple[str, ...] = ()) -> PretrainedConfig:
    """The class's default configuration, with every size made small but those of the kinds in `left`."""
    config_class: Any = cls.config_class
    config = config_class(**OVERRIDES.get(config_class.model_type, {}))
    _shrink(config, left, 0)
    return config


def _shrink(config, left, level):
    for name, value in list(vars(config).items()):
        small: Any = None
        if isinstance(value, PretrainedConfig) and level < 4:
            _shrink(value, left, level + 1)
        elif type(value) is int and value > 0:
            small = _token(value) if re.fullmatch(r".*_token_(id|index)", name) else _small(name, value, left)
        elif isinstance(value, list) and name.endswith("hidden_sizes"):
            small = [32 * (1 + i) for i in range(len(value))]
        elif isinstance(value, list) and name == "depths":
            small = [1] * len(value)
        elif isinstance(value, list) and name in ("layer_types", "mlp_layer_types", "layers_block_type") and "layers" not in left:
            small = value[:2] if len(set(value[:2])) > 1 or len(set(value)) == 1 else sorted(set(value))[:2]
        if small is not None and small != value:
            try:
                setattr(config, name, small)
            except Exception:  # a field that its class computes
                pass


def _token(value):
    """Ids below the small vocabulary, and apart from each other where they were."""
    return value if value < VOCABULARY else VOCABULARY // 2 + value % (VOCABULARY // 2)


def _small(name, value, left):
    row = next((row for row in SIZES if re.fullmatch(row.names, name)), None)
    return None if row is None or row.kind in left or row.small is None else min(row.small, value)


def small_model(cls: type[PreTrainedModel], seed: int = 0) -> PreTrainedModel:
    """A small model with random weights of the seed, by the first of LEFT that its class takes.

    Raises: what the class raises for the last of them, ValueError (it is not small).
    """
    error: Exception = ValueError()
    for left in LEFT:
        try:
            with limited(SECONDS):
                return _built(cls, small_config(cls, left), seed)
        except ImportError:
            raise
        except Exception as caught:
            error = caught
    raise error


def _built(cls, config, seed):
    type(config)(**copy.deepcopy(config).to_diff_dict())  # what its own configuration class reads again
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in cls(copy.deepcopy(config)).parameters())
    if not 0 < count <= MOST:
        raise ValueError(f"a small model must have at most {MOST} parameters; got {count}")
    torch.manual_seed(seed)
    model = cls(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.ndim > 1:
                parameter.normal_(0.0, 1.0 / max(parameter.shape[-1], 1) ** 0.5)
    model.tie_weights()
    return model
