# SPDX-License-Identifier: Apache-2.0
"""transformers' tensor-parallel plans of models with Octavo's layers.

A plan names a style for each module; transformers' styles make DTensors of parameters, which layers in 8 bits do not have.
Each style gets a subclass in its place that only notes what a layer of Octavo's is to become, and leaves all others to it.
"""

import copy
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from transformers.distributed.parallel_utils import ALL_PARALLEL_STYLES

from ..._octavo import Checkpoint
from ..._sharding import read_shard
from ..._typing import ShardAxis
from ..layers._layer import EightBitModule
from ..layers._quantized_linear import QuantizedLinear
from ..ranks._parallel_linear import ColumnParallelLinear, ParallelLinear, RowParallelLinear
from ._from_folder import Awaiting


class Place(NamedTuple):
    """What a layer becomes when its weight is there."""

    style: str
    mesh: DeviceMesh

    def make(self, layer: QuantizedLinear) -> ParallelLinear:
        """Of a layer that every rank has."""
        return self._made(_LAYERS[self.style].from_layer(layer, self.mesh.get_group()))

    def read(self, file: Checkpoint, layer: str, bias: torch.Tensor | None, dtype: torch.dtype) -> ParallelLinear:
        """Of a layer of a file, of which each rank reads its part."""
        kind, group = _LAYERS[self.style], self.mesh.get_group()
        axis: ShardAxis = "columns" if kind is ColumnParallelLinear else "rows"
        part = read_shard(file, layer, axis, dist.get_rank(group), dist.get_world_size(group))
        if axis == "rows" and (part.activation or {}).get("outlier_columns") is not None:  # every rank needs all of them
            return self._made(kind(file.weight(layer), bias, group, dtype=dtype))
        return self._made(kind.from_part(part, bias, group, dtype=dtype))

    def _made(self, layer):
        if isinstance(layer, ColumnParallelLinear):
            layer.gather_output = self.style != "colwise"
        return layer


_LAYERS: dict[str, type[ParallelLinear]] = {
    "colwise": ColumnParallelLinear, "colwise_gather_output": ColumnParallelLinear, "colwise_rep": ColumnParallelLinear,
    "rowwise": RowParallelLinear, "rowwise_split_input": RowParallelLinear, "rowwise_rep": RowParallelLinear}


class _Style:
    """Before a style of transformers."""

    name: str

    def install_forward(self, module: torch.nn.Module, mesh: DeviceMesh) -> Any:
        if not self._is_octavos(module):
            return super().install_forward(module, mesh)  # type: ignore[misc]
        object.__setattr__(module, "place", Place(self.name, mesh))
        return module

    def shard_param(self, module: torch.nn.Module, param: str, mesh: DeviceMesh) -> None:
        if not self._is_octavos(module):
            super().shard_param(module, param, mesh)  # type: ignore[misc]

    def _is_octavos(self, module):
        if not isinstance(module, (EightBitModule, Awaiting)):
            return False
        if self.name not in _LAYERS or not isinstance(module, (QuantizedLinear, Awaiting)):
            raise NotImplementedError(f"from_pretrained: tp_plan must have one of {', '.join(_LAYERS)} for layers in 8 bits "
                                      f"(experts are not split); got {self.name!r} for a {type(module).__name__}")
        return True


def extend_styles() -> None:
    """Puts Octavo's styles before transformers', once."""
    for name in list(ALL_PARALLEL_STYLES.keys()):
        style = ALL_PARALLEL_STYLES[name]
        if isinstance(style, _Style):
            continue
        made = copy.copy(style)
        made.__class__ = type(type(style).__name__, (_Style, type(style)), {})
        made.name = name
        ALL_PARALLEL_STYLES.register(name, made)
