# SPDX-License-Identifier: Apache-2.0
"""What the makers of this folder's files share: a small model, and what is kept beside a folder.

`NAME/` is what a tool wrote, unchanged. `NAME.expected.safetensors` holds, for one or two layers,
`LAYER.weight`: every fourth row of the weight that the tool itself computes from its file, and where
the tool has a function for that, `LAYER.x` and `LAYER.x_quantised`: activations before and after the
tool's own quantiser.
"""

from __future__ import annotations

import importlib.metadata
import pathlib
import shutil

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj")


def llama(
    dtype: torch.dtype = torch.bfloat16, hidden: int = 32, intermediate: int = 64, kv_heads: int = 1
) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(17)
    config = LlamaConfig(
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=kv_heads,
        vocab_size=8,
        max_position_embeddings=32,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config).to(dtype)
    for name, weight in model.named_parameters():
        if weight.dim() == 2:  # rows of different sizes, so that granularities differ
            with torch.no_grad():
                weight.mul_(torch.exp(0.5 * torch.randn(weight.shape[0], 1)).to(dtype))
    return model.eval()


def activations(k: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(23)
    return (torch.randn(5, k) * torch.exp(torch.randn(5, 1))).to(dtype)


def fresh(name: str) -> pathlib.Path:
    folder = HERE / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    return folder


def kept(key: str, value: torch.Tensor) -> torch.Tensor:
    return value[::4] if key.endswith(".weight") else value


def keep(name: str, tensors: dict[str, torch.Tensor], *tools: str) -> None:
    """Stores what the tool computes, and drops what no reader of weights needs."""
    for unused in ("generation_config.json", "recipe.yaml", "README.md"):
        (HERE / name / unused).unlink(missing_ok=True)
    versions = {tool: importlib.metadata.version(tool) for tool in (*tools, "torch")}
    save_file(
        {key: kept(key, value.detach()).contiguous() for key, value in tensors.items()},
        HERE / f"{name}.expected.safetensors",
        metadata=versions,
    )
    size = sum(file.stat().st_size for file in (HERE / name).iterdir())
    print(f"{name}: {size} bytes and {(HERE / f'{name}.expected.safetensors').stat().st_size}")
