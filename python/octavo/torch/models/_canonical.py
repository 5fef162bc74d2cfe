# SPDX-License-Identifier: Apache-2.0
"""Layers of weights in canonical form (octavo.types.Weight), whatever scheme and activation rule they have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from ..._octavo import ExpertWeights, Quantized, Weight
from ..._operations import pack_experts
from .. import nn
from ..layers._quantized_linear import QuantizedLinear
from ..operators._dtypes import from_numpy
from ._expert_gate import ExpertGate, is_fused
from ._routed_experts import RoutedExperts, SeparateExperts, takes_all_rows

LAYERS: dict[str, type[QuantizedLinear]] = {
    "int8-dynamic": nn.Int8Linear,
    "fp8-dynamic": nn.Fp8Linear,
    "fp8-block": nn.BlockFp8Linear,
    "llm-int8": nn.LLMInt8Linear,
    "int8-weight-only": nn.Int8WeightOnlyLinear,
    "fp8-weight-only": nn.Fp8WeightOnlyLinear,
    "mxfp8": nn.MxFp8Linear,
}
_IN_CELLS = ("fp8-block", "mxfp8")  # schemes whose scales change along K


def layer_of(weight: Weight, bias: torch.Tensor | None, dtype: torch.dtype) -> QuantizedLinear:
    """The frozen layer of a weight; without an activation rule it multiplies activations as they are (W8A16).

    dtype: of the float weight that the layer stands for. Raises: ValueError (a weight that is not quantised).
    """
    if weight.scheme == "none":
        raise ValueError("layer_of: weight.scheme must be that of codes; got none, a float weight")
    usual = weight.quantized.azp is None and (not weight.quantized.cols or weight.scheme in _IN_CELLS)
    made = LAYERS.get(weight.scheme, nn.CheckpointLinear) if usual else nn.CheckpointLinear
    return made.from_weight(weight, bias, dtype)


class ExpertParts(NamedTuple):
    """One product of all experts: a weight [N, K] for each one, and biases [E, N]."""

    weights: Sequence[Weight]
    bias: torch.Tensor | None


def experts_of(module: torch.nn.Module, gate_up: ExpertParts, down: ExpertParts,
               dtype: torch.dtype) -> RoutedExperts | SeparateExperts:
    """The layer in the place of a module of experts: for each one gate above up [2 I, H], and down [H, I]; one by one where
    their outlier columns depend on all rows (LLM.int8()). dtype: of the float weights that they stand for.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.
        NotImplementedError: the contract has it, this build does not.
    """
    if any((weight.activation or {}).get("outlier_threshold") for weight in (*gate_up.weights, *down.weights)):
        if takes_all_rows(module):
            raise NotImplementedError("experts_of: experts of llm-int8 must be called with rows and the experts they go to; got "
                                      f"{type(module).__name__}")
        first, second = ([layer_of(weight, None if parts.bias is None else parts.bias[expert], dtype)
                          for expert, weight in enumerate(parts.weights)] for parts in (gate_up, down))
        return SeparateExperts(first, second, None if is_fused(module) else ExpertGate(module))
    layer = RoutedExperts(_packed(gate_up.weights), _packed(down.weights), gate_up.bias, down.bias)
    layer.stand_for(module)
    layer._show_parameter(dtype, layer.w13.device)
    return layer


def _packed(weights: Sequence[Weight]) -> ExpertWeights:
    first = weights[0]
    codes = torch.stack([from_numpy(weight.quantized.data) for weight in weights])
    grids = [_grid(weight.quantized) for weight in weights]
    if any(grid[0] != grids[0][0] for grid in grids):
        raise ValueError("experts_of: weights of experts must have scales of one granularity; got "
                         f"{', '.join(sorted({grid[0] for grid in grids}))}")
    scales = torch.stack([scale for _, scale in grids])
    return pack_experts(codes, scales, granularity=grids[0][0], **_rule(first, weights))


def _rule(first: Weight, weights: Sequence[Weight]) -> dict[str, Any]:
    """The experts' activation rule; of static scales the largest."""
    if first.activation is None:
        return {}
    rules = [weight.activation or {} for weight in weights]
    static = max(rule.get("static_scale", 0.0) for rule in rules)
    if any({**rule, "static_scale": static} != {**rules[0], "static_scale": static} for rule in rules):
        raise ValueError("experts_of: weights of experts must have one activation rule; got several")
    return {**rules[0], "static_scale": static}


def _grid(quantized: Quantized) -> tuple[str, torch.Tensor]:
    """The granularity of a stored expert [N, K] by name, and its scales as octavo.moe.pack_experts takes them."""
    if quantized.row0 or quantized.col0:
        raise ValueError("experts_of: weights of experts must begin with a cell of their scales; got one that begins at "
                         f"({quantized.row0}, {quantized.col0}) of one")
    n, k = quantized.data.shape
    rows, cols = quantized.rows or n, quantized.cols or k
    scale = from_numpy(quantized.scale).reshape(-(-n // rows), -(-k // cols))
    if not quantized.cols:
        return "channel", scale.repeat_interleave(rows, 0)[:n]
    if rows == 1:
        return f"group{cols}", scale
    return f"block{rows}x{cols}", scale
