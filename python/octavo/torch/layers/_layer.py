# SPDX-License-Identifier: Apache-2.0
"""What all layers in 8 bits share: their float types, autocasting, and strict loading of states."""

import math
import weakref
from typing import Any

import torch

from ..operators._library import device_refusal

FLOATS = (torch.float32, torch.bfloat16, torch.float16)
EMPTY = "empty"  # the parameter of a module that has no other


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


def as_rows(x: torch.Tensor) -> torch.Tensor:
    """[..., K] as [rows, K], K = 0 included."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def size_mismatch(key: str, given: torch.Size, own: Any) -> str:
    """torch.nn.Module's sentence."""
    return (f"size mismatch for {key}: copying a param with shape {given} from checkpoint, the shape in current "
            f"model is {torch.Size(own)}.")


def brought(given: dict[str, torch.Tensor], device: torch.device, metadata: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Tensors of a state for a layer on that device: there, as torch.nn.Module copies them into its parameters; as they are
    where they are assigned, or where the layer has no memory yet."""
    if metadata.get("assign_to_params_buffers") or device_refusal(device):
        return given
    return {name: value.to(device) for name, value in given.items()}


def check_host(what: str, device: torch.device | str) -> None:
    """NotImplementedError unless layers on ranks can be there. The meta device stands for any."""
    if torch.device(device).type not in ("cpu", "meta"):
        raise NotImplementedError(f"{what} must be cpu (layers on ranks compute on the host); got {device}")


class _Empty(torch.nn.Parameter):
    """The parameter of a module without others. FullyShardedDataParallel flattens parameters that all train, or none: not this one."""

    _fsdp_flattened = True  # its word for what it has dealt with


class EightBitModule(torch.nn.Module):
    """A module whose parameters are of float types that can be quantised."""

    on_ranks: bool = False  # whether its weight is a part of one

    def _show_parameter(self, dtype, device):
        """A module without parameters gets an empty one, of the float type and the device that its weight stands for: code asks the
        first parameter of a model for both. It does not train, and no state has it."""
        own = self._parameters
        if any(parameter is not None for name, parameter in own.items() if name != EMPTY):
            own.pop(EMPTY, None)
        elif type(own.get(EMPTY)) is not _Empty or (own[EMPTY].dtype, own[EMPTY].device) != (dtype, torch.device(device)):
            own[EMPTY] = _Empty(torch.empty(0, dtype=dtype, device=device), requires_grad=False)

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        """As torch.nn.Module's. Without its children the module has no empty parameter: what goes through a model module by module
        (accelerate's offloading) moves what it finds, and looks it up in a state."""
        found = super().named_parameters(prefix, recurse, remove_duplicate)
        return found if recurse else (item for item in found if item[0].rpartition(".")[2] != EMPTY)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.pop(prefix + EMPTY, None)

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, unexpected, errors)
        missing[:] = [key for key in missing if key != prefix + EMPTY]

    def _share_in_states(self, destination, prefix):
        """Tensors that a state is made of anew are those of the last state while these live and hold the same: a module in two
        places of a model, or a second state, has one memory, by which safetensors finds what is shared."""
        last = self.__dict__.setdefault("_in_states", {})
        for key in [key for key in destination if key.startswith(prefix)]:
            name, new = key[len(prefix):], destination[key]
            own = self._parameters.get(name, self._buffers.get(name))
            if "." in name or own is not None and own.data_ptr() == new.data_ptr():
                continue
            old = last.get(name, _gone)()
            if old is not None and (old.dtype, old.device) == (new.dtype, new.device) and torch.equal(old, new):
                destination[key] = old
            else:
                last[name] = weakref.ref(new)

    def __getstate__(self) -> Any:
        return {name: value for name, value in self.__dict__.items() if name != "_in_states"}

    def _apply(self, fn, recurse=True):
        like = fn(torch.empty(0, dtype=torch.float32))
        check_float(type(self).__name__, "dtype", like.dtype)
        if self.on_ranks:
            check_host(f"{type(self).__name__}: device", like.device)
        return super()._apply(fn, recurse)

    def _load_others(self, taken, state_dict, prefix, local_metadata, strict, missing, unexpected, errors):
        """torch.nn.Module's own loading of all names but those that the layer has dealt with itself."""
        keys = {prefix + name for name in taken}
        lost: list[str] = []
        rest = {key: value for key, value in state_dict.items() if key not in keys}
        EightBitModule._load_from_state_dict(self, rest, prefix, local_metadata, strict, lost, unexpected, errors)
        missing.extend(key for key in lost if key not in keys)


def _gone():
    return None
