# SPDX-License-Identifier: Apache-2.0
"""What the products of a mixture's experts read: the rows routed to each one, and what its gate makes of them."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from ._expert_gate import ExpertGate, interleaves
from ._routed_experts import experts_refusal, is_experts, rows_are_inputs, takes_all_rows

_READS_ROWS, _READS_GATED = ("gate_proj", "up_proj"), "down_proj"


class Experts(NamedTuple):
    """Modules of experts by their path, and why others cannot be calibrated."""

    known: dict[str, torch.nn.Module]
    refused: dict[str, str]


def experts_to_calibrate(model: torch.nn.Module) -> Experts:
    """Modules of float experts; those of which it is not known what stands between their products are refused."""
    found = Experts({}, {})
    for path, module in model.named_modules():
        if not is_experts(module):
            continue
        if why := experts_refusal(module, "int8-dynamic", True):
            found.refused[path] = why
        else:
            found.known[path] = module
    return found


def layers_of_experts(path: str, module: torch.nn.Module) -> list[tuple[str, ...]]:
    """The layers of each expert: "x.experts.3.gate_proj", .up_proj and .down_proj."""
    return [tuple(f"{path}.{expert}.{part}" for part in (*_READS_ROWS, _READS_GATED))
            for expert in range(len(module.get_parameter("down_proj")))]


def note_inputs(path: str, module: torch.nn.Module, note: Callable[[str, torch.Tensor, str], None]) -> Any:
    """Calls note(layer, input [n, K], first layer that reads it) for every product of every expert that gets n > 0 rows,
    whenever the module is called.

    The input of down_proj is computed a second time, from the float weights in their own type, as the module does it.
    Returns: the handle of the hook.
    """
    products = _Products(module)
    layers = layers_of_experts(path, module)

    def hook(module, arguments, named):
        for expert, x in products.rows(arguments, named):
            *readers, down = layers[expert]
            for layer in readers:
                note(layer, x, readers[0])
            note(down, products.gated(x, expert), down)

    return module.register_forward_pre_hook(hook, with_kwargs=True)


class _Products:
    """The first product of a module's experts, and the rows that each one gets."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._experts = len(module.get_parameter("down_proj"))
        self._signature = inspect.signature(type(module).forward)
        self._all_rows = takes_all_rows(module)
        self._transposed = rows_are_inputs(module.get_parameter("gate_up_proj").shape, module.get_parameter("down_proj").shape)
        self._gate = ExpertGate(module)
        self._interleaved = interleaves(module)

    def rows(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> Iterator[tuple[int, torch.Tensor]]:
        """Of each expert that has some."""
        _, hidden, *routed = self._signature.bind(self._module, *arguments, **named).arguments.values()
        hidden = hidden.detach().reshape(-1, hidden.shape[-1])
        for expert in range(self._experts):
            if self._all_rows:  # [E * M, H]: tokens that go to another expert are rows of zeros
                x = hidden.unflatten(0, (self._experts, -1))[expert]
                x = x[(x != 0).any(-1)]
            else:
                x = hidden[(routed[0].reshape(len(hidden), -1) == expert).any(-1)]
            if len(x):
                yield expert, x

    def gated(self, x: torch.Tensor, expert: int) -> torch.Tensor:
        """[n, I] of rows [n, H]."""
        weight = self._module.get_parameter("gate_up_proj").detach()[expert]
        bias = self._module._parameters.get("gate_up_proj_bias")
        both = torch.nn.functional.linear(x, weight.T if self._transposed else weight,
                                          None if bias is None else bias.detach()[expert])
        return self._gate(torch.cat((both[..., ::2], both[..., 1::2]), -1) if self._interleaved else both)
