# SPDX-License-Identifier: Apache-2.0
"""What a module of experts does between its two products: silu(gate) * up, which fused_experts has, or something else."""

from typing import Any

import torch

_SILU = ("SiLU", "SiLUActivation")


def is_fused(module: torch.nn.Module) -> bool:
    """Whether it is silu(gate) * up."""
    return _own_gate(module) is None and type(getattr(module, "act_fn", None)).__name__ in _SILU


def gate_refusal(module: torch.nn.Module) -> str | None:
    """Why nothing is known of it; None where it is."""
    if _own_gate(module) is None and not callable(getattr(module, "act_fn", None)):
        return "it has neither act_fn nor _apply_gate"
    return None


def interleaves(module: torch.nn.Module) -> bool:
    """Whether its rows of gate and up alternate."""
    return not getattr(module, "is_concatenated", True)


def _own_gate(module: torch.nn.Module) -> Any:
    """A gate that the module's class wrote itself, as transformers' gpt-oss does."""
    gate = getattr(type(module), "_apply_gate", None)
    return None if gate is None or gate.__name__ == "_default_apply_gate" else gate


def without_weights(module: torch.nn.Module) -> torch.nn.Module:
    """The module as it is but for its parameters: its class, settings and activation function."""
    shell = object.__new__(type(module))
    shell.__dict__.update(module.__dict__)
    shell.__dict__["_parameters"] = {}
    return shell


class ExpertGate:
    """A module's own gate, on rows of gate before those of up [..., 2 I], without the module's weights."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = without_weights(module)
        self._interleaved = interleaves(module)
        self._own = _own_gate(module) is not None

    def __call__(self, gate_up: torch.Tensor) -> torch.Tensor:
        """[..., I]."""
        gate, up = gate_up.chunk(2, -1)
        if not self._own:
            return self._module.act_fn(gate) * up
        if self._interleaved:
            gate_up = torch.stack((gate, up), -1).flatten(-2)
        return self._module._apply_gate(gate_up)

    def __repr__(self) -> str:
        module = self._module
        return f"{type(module).__name__}._apply_gate" if self._own else type(module.act_fn).__name__
