# SPDX-License-Identifier: Apache-2.0
"""Experts of transformers' mixtures, whose weights are tensors [E, ...], as a layer in 8 bits.

transformers keeps all experts of a layer as two parameters: gate_up_proj [E, 2 I, H] and down_proj [E, H, I], or
transposed, or with gate and up interleaved; attributes of the module say which.
"""

from collections.abc import Sequence

import torch

from .. import _octavo
from .._octavo import LayerReport
from .moe import SCHEMES, FusedMoE, quantized_experts

_SILU = ("SiLU", "SiLUActivation")
# What transformers' modules say of their layout, and what it is where a module does not say.
_LAYOUT = {"has_gate": True, "is_concatenated": True, "is_transposed": False, "has_post_expert_norm": False}


def is_experts(module: torch.nn.Module) -> bool:
    """Whether the module holds experts as tensors of three dimensions."""
    down = module._parameters.get("down_proj")
    return down is not None and down.ndim == 3 and not isinstance(module, FusedMoE)


def experts_refusal(module: torch.nn.Module, scheme: str, freeze: bool) -> str | None:
    """Why these experts cannot be a RoutedExperts; None where they can."""
    layout = {name: getattr(module, name, default) for name, default in _LAYOUT.items()}
    if not freeze:
        return "experts in 8 bits are for inference (freeze=True)"
    if scheme not in SCHEMES:
        return f"{scheme} has no experts (its outlier columns depend on all rows)"
    if not layout["has_gate"] or module._parameters.get("gate_up_proj") is None:
        return "its experts have no gate"
    if layout["has_post_expert_norm"]:
        return "a norm follows each of its experts"
    gate = getattr(type(module), "_apply_gate", None)
    if gate is not None and gate.__name__ != "_default_apply_gate":
        return f"its activation is {gate.__qualname__}, not silu(gate) * up"
    activation = type(getattr(module, "act_fn", None)).__name__
    if activation not in _SILU:
        return f"its activation is {activation}, not silu(gate) * up"
    if module.gate_up_proj.ndim != 3:
        return f"gate_up_proj has {module.gate_up_proj.ndim} dimensions, not 3"
    return None


class RoutedExperts(FusedMoE):
    """FusedMoE in the place of a mixture's experts in transformers: called with hidden states, ids and weights.

    The router stays what it was. A layer that is made for loading (`empty_like`) has parameters gate_up_proj and
    down_proj on the meta device, which `take` replaces by packed codes one after the other.
    """

    _scheme: str
    _transposed: bool
    _interleaved: bool

    @classmethod
    def empty_like(cls, module: torch.nn.Module, scheme: str) -> "RoutedExperts":
        """The layer before its weights: parameters of the module's shapes, on whatever device they are."""
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer._scheme = scheme
        layer._transposed = bool(getattr(module, "is_transposed", False))
        layer._interleaved = not getattr(module, "is_concatenated", True)
        layer.training = module.training
        down = module.get_parameter("down_proj")
        layer.out_features = down.shape[2 if layer._transposed else 1]
        layer.register_parameter("gate_up_proj", module.get_parameter("gate_up_proj"))
        layer.register_parameter("down_proj", down)
        for ours, theirs in (("bias13", "gate_up_proj_bias"), ("bias2", "down_proj_bias")):
            layer.register_buffer(ours, None)
            if theirs in module._parameters:
                layer.register_parameter(theirs, module._parameters[theirs])
        return layer

    def take(self, name: str, weight: torch.Tensor) -> list[tuple[float, LayerReport]]:
        """Quantises and packs gate_up_proj or down_proj as the module stored it, and drops the parameter.

        Returns: for each expert the sum of its weight's squares, and what quantising did to it.
        """
        stored = self._stored(name, weight.detach()).contiguous()
        packed, made = quantized_experts(stored, self._scheme)
        errors = [(float(expert.double().square().sum()), _octavo.compare_weight(name, expert, one))
                  for expert, one in zip(stored, made)]
        self._parameters.pop(name, None)
        self._pack(**{"w13" if name == "gate_up_proj" else "w2": packed})
        return errors

    def take_biases(self) -> None:
        """Biases of the module, in the order of the packed rows."""
        for ours, theirs in (("bias13", "gate_up_proj_bias"), ("bias2", "down_proj_bias")):
            parameter = self._parameters.pop(theirs, None)
            if parameter is not None:
                bias = parameter.detach()
                setattr(self, ours, self._halves(bias, 1) if ours == "bias13" else bias)

    @property
    def complete(self) -> bool:
        """Whether both weights are packed."""
        return "w13" in self.__dict__ and "w2" in self.__dict__

    def _stored(self, name, weight):
        """The experts as [E, N, K], gate before up."""
        weight = weight.transpose(1, 2) if self._transposed else weight
        return self._halves(weight, 1) if name == "gate_up_proj" else weight

    def _halves(self, tensor, dim):
        if not self._interleaved:
            return tensor
        even = tensor.narrow(dim, 0, tensor.shape[dim]).unflatten(dim, (-1, 2))
        return torch.cat((even.select(dim + 1, 0), even.select(dim + 1, 1)), dim)

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        if self.complete:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        else:
            torch.nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)

    def extra_repr(self) -> str:
        return super().extra_repr() if self.complete else f"scheme={self._scheme}, without weights"

    def forward(self, hidden_states: torch.Tensor, top_k_index: torch.Tensor,  # type: ignore[override]
                top_k_weights: torch.Tensor) -> torch.Tensor:
        """hidden_states [M, H]; top_k_index [M, T], where E and more mean no expert; top_k_weights [M, T]."""
        ids = torch.where(top_k_index < self.w13.experts, top_k_index, -1).to(torch.int32)
        return super().forward(hidden_states, top_k_weights.float(), ids)


class SeparateExperts(torch.nn.Module):
    """Experts as layers of their own, called one after the other with the rows that are routed to them."""

    def __init__(self, gate_up: Sequence[torch.nn.Module], down: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.gate_up = torch.nn.ModuleList(gate_up)
        self.down = torch.nn.ModuleList(down)

    def forward(self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        """hidden_states [M, H]; top_k_index [M, T], where E and more mean no expert; top_k_weights [M, T]."""
        y = torch.zeros_like(hidden_states, dtype=torch.float32)
        for expert, (gate_up, down) in enumerate(zip(self.gate_up, self.down)):
            rows, slots = torch.where(top_k_index == expert)
            if not rows.numel():
                continue
            gate, up = gate_up(hidden_states[rows]).chunk(2, -1)
            found = down(torch.nn.functional.silu(gate) * up)
            y.index_add_(0, rows, found.float() * top_k_weights[rows, slots, None].float())
        return y.to(hidden_states.dtype)
