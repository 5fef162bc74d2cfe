# SPDX-License-Identifier: Apache-2.0
"""Experts of transformers' mixtures, whose weights are tensors [E, ...], as a layer in 8 bits.

transformers keeps all experts of a layer as two parameters: gate_up_proj [E, 2 I, H] and down_proj [E, H, I], or
transposed, or with gate and up interleaved; attributes of the module say which.
"""

import inspect
from collections.abc import Callable, Sequence

import torch

from ... import _octavo
from ..._octavo import ExpertWeights, LayerReport
from ..moe import SCHEMES, FusedMoE, quantized_experts
from ..operators._linear import call_linear, handle_of
from ._expert_gate import ExpertGate, gate_refusal, interleaves, is_fused


def is_experts(module: torch.nn.Module) -> bool:
    """Whether the module holds experts as tensors of three dimensions."""
    down = module._parameters.get("down_proj")
    return down is not None and down.ndim == 3 and not isinstance(module, FusedMoE)


def experts_refusal(module: torch.nn.Module, scheme: str, freeze: bool) -> str | None:
    """Why these experts cannot be a RoutedExperts; None where they can."""
    both = module._parameters.get("gate_up_proj")
    if not freeze:
        return "experts in 8 bits are for inference (freeze=True)"
    if scheme not in SCHEMES:
        return f"{scheme} has no experts (its outlier columns depend on all rows)"
    if not getattr(module, "has_gate", True) or both is None:
        return "its experts have no gate"
    if getattr(module, "has_post_expert_norm", False):
        return "a norm follows each of its experts"
    if both.ndim != 3:
        return f"gate_up_proj has {both.ndim} dimensions, not 3"
    if rows_are_inputs(both.shape, module.get_parameter("down_proj").shape) is None:
        return (f"gate_up_proj and down_proj are {list(both.shape)} and {list(module.get_parameter('down_proj').shape)}, not "
                "[E, 2 I, H] and [E, H, I] or [E, H, 2 I] and [E, I, H]")
    return gate_refusal(module)


def rows_are_inputs(both: Sequence[int], down: Sequence[int]) -> bool | None:
    """Whether stacks are stored as [E, K, N], by their shapes; None where they do not fit."""
    if both[0] == down[0] and both[1] == 2 * down[2] and both[2] == down[1]:
        return False
    return True if both[0] == down[0] and both[2] == 2 * down[1] and both[1] == down[2] else None


def takes_all_rows(module: torch.nn.Module) -> bool:
    """Whether it is called with E times the rows, a share for each expert (Llama 4), and with nothing else."""
    return len(inspect.signature(type(module).forward).parameters) == 2


class RoutedExperts(FusedMoE):
    """FusedMoE in the place of a mixture's experts in transformers: called with hidden states, ids and weights; in the place
    of Llama 4's with as many rows for each expert as there are tokens.

    Where something else than silu(gate) * up stands between the products (gpt-oss), experts are multiplied one by one.
    The router stays what it was. A layer that is made for loading (`empty_like`) has parameters gate_up_proj and
    down_proj on the meta device, which `take` replaces by packed codes one after the other.
    """

    _scheme: str
    _transposed: bool
    _interleaved: bool
    _all_rows: bool = False
    gate: ExpertGate | None = None  # None: fused_experts' own

    @classmethod
    def empty_like(cls, module: torch.nn.Module, scheme: str) -> "RoutedExperts":
        """The layer before its weights: parameters of the module's shapes, on whatever device they are."""
        layer = cls.__new__(cls)
        torch.nn.Module.__init__(layer)
        layer._scheme = scheme
        down = module.get_parameter("down_proj")
        layer._transposed = bool(rows_are_inputs(module.get_parameter("gate_up_proj").shape, down.shape))
        layer._interleaved = interleaves(module)
        layer.stand_for(module)
        layer.training = module.training
        layer.out_features = down.shape[2 if layer._transposed else 1]
        layer.register_parameter("gate_up_proj", module.get_parameter("gate_up_proj"))
        layer.register_parameter("down_proj", down)
        for ours, theirs in (("bias13", "gate_up_proj_bias"), ("bias2", "down_proj_bias")):
            layer.register_buffer(ours, None)
            if theirs in module._parameters:
                layer.register_parameter(theirs, module._parameters[theirs])
        return layer

    def stand_for(self, module: torch.nn.Module) -> None:
        """Takes over how the module is called and what it does between its products."""
        self.gate = None if is_fused(module) else ExpertGate(module)
        self._all_rows = takes_all_rows(module)

    def take(self, name: str, weight: torch.Tensor) -> list[tuple[float, LayerReport]]:
        """Quantises and packs gate_up_proj or down_proj as the module stored it, and drops the parameter.

        Returns:
            For each expert the sum of its weight's squares, and what quantising did to it.
        """
        stored = self._stored(name, weight.detach()).contiguous()
        packed, made = quantized_experts(stored, self._scheme)
        errors = [(float(expert.double().square().sum()), _octavo.compare_weight(name, expert, one))
                  for expert, one in zip(stored, made)]
        self._parameters.pop(name, None)
        self._pack(**{"w13" if name == "gate_up_proj" else "w2": packed})
        self._show_parameter(weight.dtype, weight.device)
        return errors

    def take_biases(self) -> None:
        """Biases of the module, in the order of the packed rows."""
        for ours, theirs in (("bias13", "gate_up_proj_bias"), ("bias2", "down_proj_bias")):
            parameter = self._parameters.pop(theirs, None)
            if parameter is not None:
                bias = parameter.detach()
                setattr(self, ours, self._halves(bias, 1) if ours == "bias13" else bias)
                self._show_parameter(bias.dtype, bias.device)

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

    def as_stored(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Experts [E, N, K], gate before up, or their biases [E, N], as the module keeps them under that name."""
        if self._interleaved and name.startswith("gate_up_proj"):
            weight = torch.stack(weight.chunk(2, 1), 2).flatten(1, 2)
        return weight.transpose(1, 2).contiguous() if self._transposed and weight.ndim == 3 else weight

    def _save_to_state_dict(self, destination, prefix, keep_vars):
        if self.complete:
            super()._save_to_state_dict(destination, prefix, keep_vars)
        else:
            torch.nn.Module._save_to_state_dict(self, destination, prefix, keep_vars)

    def extra_repr(self) -> str:
        return super().extra_repr() if self.complete else f"scheme={self._scheme}, without weights"

    def forward(self, hidden_states: torch.Tensor, top_k_index: torch.Tensor | None = None,  # type: ignore[override]
                top_k_weights: torch.Tensor | None = None) -> torch.Tensor:
        """hidden_states [M, H]; top_k_index [M, T], where E and more mean no expert; top_k_weights [M, T].

        In the place of Llama 4's experts hidden_states [E * M, H] alone, whose first M rows are expert 0's.
        """
        if self._all_rows:
            rows = hidden_states.reshape(self._count, -1, hidden_states.shape[-1])
            found = [self._expert(x, expert) for expert, x in enumerate(rows)]
            return torch.cat(found).reshape(-1, self.out_features)
        assert top_k_index is not None and top_k_weights is not None
        if self.gate is not None:
            return one_by_one(hidden_states, top_k_index, top_k_weights, self._count, self._expert)
        ids = torch.where(top_k_index < self._count, top_k_index, -1).to(torch.int32)
        return super().forward(hidden_states, top_k_weights.float(), ids)

    def _expert(self, x, expert):
        gate_up = self._product(x, self.w13, self.bias13, expert)
        return self._product(gated(self.gate, gate_up), self.w2, self.bias2, expert)

    def _product(self, x, weights: ExpertWeights, biases, expert):
        weight = weights[expert]
        return call_linear(x, None if biases is None else biases[expert].to(x.dtype), None, handle_of(weight),
                           self.batch_invariant, None)


class SeparateExperts(torch.nn.Module):
    """Experts as layers of their own, called one after the other with the rows that are routed to them.

    gate: from gate and up [..., 2 I] to [..., I]; None: silu(gate) * up.
    """

    def __init__(self, gate_up: Sequence[torch.nn.Module], down: Sequence[torch.nn.Module],
                 gate: Callable[[torch.Tensor], torch.Tensor] | None = None) -> None:
        super().__init__()
        self.gate_up = torch.nn.ModuleList(gate_up)
        self.down = torch.nn.ModuleList(down)
        self.gate = gate

    def forward(self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor) -> torch.Tensor:
        """hidden_states [M, H]; top_k_index [M, T], where E and more mean no expert; top_k_weights [M, T]."""
        return one_by_one(hidden_states, top_k_index, top_k_weights, len(self.down), self._expert)

    def _expert(self, x, expert):
        return self.down[expert](gated(self.gate, self.gate_up[expert](x)))


def gated(gate: Callable[[torch.Tensor], torch.Tensor] | None, gate_up: torch.Tensor) -> torch.Tensor:
    """[..., I] of gate before up [..., 2 I]; None: silu(gate) * up."""
    if gate is not None:
        return gate(gate_up)
    rows, up = gate_up.chunk(2, -1)
    return torch.nn.functional.silu(rows) * up


def one_by_one(x: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor, experts: int,
               expert: Callable[[torch.Tensor, int], torch.Tensor]) -> torch.Tensor:
    """sum over t of weights[m, t] * expert(x[m], ids[m, t]) in float32, then x's type; ids from `experts` on are none."""
    y = torch.zeros_like(x, dtype=torch.float32)
    for number in range(experts):
        rows, slots = torch.where(ids == number)
        if rows.numel():
            y.index_add_(0, rows, expert(x[rows], number).float() * weights[rows, slots, None].float())
    return y.to(x.dtype)
