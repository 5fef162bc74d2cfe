# SPDX-License-Identifier: Apache-2.0
"""What all layers in 8 bits share: their float types, autocasting, and strict loading of states."""

from typing import Any

import torch

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def check_float(layer: str, argument: str, dtype: torch.dtype | None) -> None:
    """ValueError unless the type, or None for torch's default, is one that layers quantise from."""
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in FLOATS:
        raise ValueError(f"{layer}: {argument} must be torch.float32, torch.bfloat16 or torch.float16 (convert it with "
                         f".float()); got {dtype}")


def autocast(x: torch.Tensor) -> torch.Tensor:
    """x as torch.nn.Linear takes it: under torch.autocast a float tensor gets the type of autocasting."""
    if not torch._C._is_any_autocast_enabled():  # what every small call pays
        return x
    if x.dtype in FLOATS and torch.is_autocast_enabled(x.device.type):
        return x.to(torch.get_autocast_dtype(x.device.type))
    return x


def size_mismatch(key: str, given: torch.Size, own: Any) -> str:
    """torch.nn.Module's sentence."""
    return (f"size mismatch for {key}: copying a param with shape {given} from checkpoint, the shape in current "
            f"model is {torch.Size(own)}.")


class EightBitModule(torch.nn.Module):
    """A module whose parameters are of float types that can be quantised."""

    on_ranks: bool = False  # whether its weight is a part of one

    def _apply(self, fn, recurse=True):
        check_float(type(self).__name__, "dtype", fn(torch.empty(0, dtype=torch.float32)).dtype)
        return super()._apply(fn, recurse)

    def _load_others(self, taken, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        """torch.nn.Module's own loading of all names but those that the layer has dealt with itself."""
        keys = {prefix + name for name in taken}
        lost: list[str] = []
        rest = {key: value for key, value in state_dict.items() if key not in keys}
        super()._load_from_state_dict(rest, prefix, local_metadata, strict, lost, unexpected, errors)
        missing.extend(key for key in lost if key not in keys)
