# SPDX-License-Identifier: Apache-2.0
"""A module in the place of another: what was added to the other one goes over to it, or says why it cannot."""

import torch

from ..layers._layer import EightBitModule

# Tables of torch.nn.Module that mean the same for any module which is called in the same way.
_CARRIED = ("_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_forward_hooks", "_forward_hooks_with_kwargs",
            "_forward_hooks_always_called", "_backward_pre_hooks", "_backward_hooks")
_OF_STATES = ("_state_dict_hooks", "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")


def refusal(module: torch.nn.Module) -> str | None:
    """Why a module's place cannot be another's, for what was added to it; None where it can."""
    if "forward" in vars(module):
        return "its forward is not its class's"
    if any(vars(module).get(name) for name in _OF_STATES):
        return "it has hooks of its state, which would get other tensors"
    return None


def linear_refusal(module: torch.nn.Module) -> str | None:
    """The same for a linear layer, which has to have a weight and a bias and no other tensors."""
    others = [name for table in (module._parameters, module._buffers, module._modules) for name in table
              if name not in ("weight", "bias")]
    if others:
        return f"it has {', '.join(others)} beside weight and bias (remove weight norm or pruning first)"
    return refusal(module)


def set_module(model: torch.nn.Module, path: str, module: torch.nn.Module) -> None:
    """Puts a module in the place of another, whose hooks of forward and backward passes it gets: the same tables, so that
    their handles remove them; so does what was set at a linear layer."""
    parent, _, child = path.rpartition(".")
    holder = model.get_submodule(parent)
    replaced = getattr(holder, child)
    old = vars(replaced)
    for name in _CARRIED:
        if old.get(name):
            vars(module)[name] = old[name]
            if name == "_backward_hooks":
                vars(module)["_is_full_backward_hook"] = old["_is_full_backward_hook"]
    if isinstance(replaced, torch.nn.Linear) and not isinstance(replaced, EightBitModule):
        for name in old.keys() - vars(module).keys():  # what a model keeps at its layers
            vars(module)[name] = old[name]
    setattr(holder, child, module)
