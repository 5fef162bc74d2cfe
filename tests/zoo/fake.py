# SPDX-License-Identifier: Apache-2.0
"""A float model whose activations have the errors of 8 bits, by PyTorch's own arithmetic."""

import torch

TOP = {"int8": 127.0, "fp8": 448.0}


def rounded(x: torch.Tensor, code: str) -> torch.Tensor:
    """x with a scale for each row of its last dimension, as codes and back."""
    scale = x.abs().amax(-1, keepdim=True).float() / TOP[code]
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = x.float() / scale
    codes = codes.round() if code == "int8" else codes.to(torch.float8_e4m3fn).float()
    return (codes * scale).to(x.dtype)


def round_activations(model: torch.nn.Module, names: set[str], code: str) -> None:
    """Rounds what the linear layers of those names are given."""
    for name, layer in model.named_modules():
        if name in names:
            layer.register_forward_pre_hook(lambda _, given: (rounded(given[0], code), *given[1:]))
