# SPDX-License-Identifier: Apache-2.0
"""A float model whose activations have the errors of 8 bits, by PyTorch's own arithmetic."""

from collections.abc import Callable

import torch

TOP = {"int8": 127.5, "fp8": 448.0}  # compressed-tensors' own: half the range of the codes


def rounded(x: torch.Tensor, code: str, factor: float = 1.0) -> torch.Tensor:
    """x with a scale for each row of its last dimension, times a factor near 1, as codes and back."""
    scale = x.abs().amax(-1, keepdim=True).float() / TOP[code] * factor
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    codes = x.float() / scale
    codes = codes.clamp(-128, 127).round() if code == "int8" else codes.to(torch.float8_e4m3fn).float()
    return (codes * scale).to(x.dtype)


FACTORS = (1.0, 1.0 - 2.0**-9, 1.0 + 2.0**-9)  # of scales: none of them costs accuracy


def least_cosine(model: torch.nn.Module, names: set[str], code: str, cosine: Callable[[torch.nn.Module], float]) -> float:
    """The least of what `cosine` gives for the model whose linear layers of those names are given rounded rows.

    A model that chooses (experts, positions, hashes) gives other outputs for other roundings: the least is over FACTORS.
    """
    found = []
    for factor in FACTORS:
        hooks = [layer.register_forward_pre_hook(lambda _, given, f=factor: (rounded(given[0], code, f), *given[1:]))
                 for name, layer in model.named_modules() if name in names]
        found.append(cosine(model))
        for hook in hooks:
            hook.remove()
    return min(found)
