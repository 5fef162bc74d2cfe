# SPDX-License-Identifier: Apache-2.0
"""Frozen layers on the ranks of torch.distributed: tensor and expert parallelism in 8 bits.

`ColumnParallelLinear` and `RowParallelLinear` are layers by themselves; `ColwiseParallel` and `RowwiseParallel` are what
torch.distributed.tensor.parallel.parallelize_module takes in the place of PyTorch's own, for models whose layers
octavo.torch.quantize_ has made (float layers go the way that PyTorch's styles go). transformers' tensor-parallel plans reach
Octavo's layers through from_pretrained(distributed_config=DistributedConfig(tp_size=N, tp_plan="auto")). `ExpertParallelMoE`
is a FusedMoE whose experts are shared out: every rank has tokens of its own.
"""

from typing import Any

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard
from torch.distributed.tensor.parallel import style as _torch

from .layers._quantized_linear import QuantizedLinear
from .ranks import _placements  # noqa: F401  (registers them)
from .ranks._parallel_experts import ExpertParallelMoE
from .ranks._parallel_linear import ColumnParallelLinear, Mode, ParallelLinear, RowParallelLinear

__all__ = ["ColumnParallelLinear", "ColwiseParallel", "ExpertParallelMoE", "ParallelLinear", "RowParallelLinear", "RowwiseParallel"]

_WHOLE, _COLUMNS = (Replicate(),), (Shard(-1),)


class _Options:
    """What Octavo's styles take beside PyTorch's arguments: mode and k_chunks, as ColumnParallelLinear has them."""

    _layer: type[ParallelLinear]
    input_layouts: tuple[Placement, ...]
    output_layouts: tuple[Placement, ...]
    use_local_output: bool

    def __init__(self, *, mode: Mode = "exact", k_chunks: int = 24, **layouts: Any) -> None:
        super().__init__(**layouts)
        self._options = {"mode": mode, "k_chunks": k_chunks}

    def _apply(self, module: torch.nn.Module, device_mesh: DeviceMesh) -> torch.nn.Module:
        if not isinstance(module, QuantizedLinear):
            return super()._apply(module, device_mesh)  # type: ignore[misc]
        made = self._layer.from_layer(module, device_mesh.get_group(), **self._options)
        if isinstance(made, ColumnParallelLinear):
            made.gather_output = self.output_layouts != _COLUMNS
        become(module, made)
        module.register_forward_pre_hook(lambda layer, inputs: self._enter(layer, inputs, device_mesh))
        module.register_forward_hook(lambda layer, inputs, output: self._leave(layer, output, device_mesh))
        return module

    def _enter(self, layer, inputs, mesh):
        """x as the layer takes it, on this rank: whole, or, of a row-parallel layer, its own columns."""
        x = inputs[0]
        if not isinstance(x, DTensor):
            if self.input_layouts in (_WHOLE, _COLUMNS):
                return None
            x = DTensor.from_local(x, mesh, self.input_layouts, run_check=False)
        if not (isinstance(layer, RowParallelLinear) and x.placements == _COLUMNS and layer.takes(x.to_local())):
            x = x.redistribute(placements=_WHOLE)
        return x.to_local(), *inputs[1:]

    def _leave(self, layer, y, mesh):
        parts = isinstance(layer, ColumnParallelLinear) and not layer.gather_output
        if parts and not self.use_local_output:
            return _of_columns(layer, y, mesh)
        if parts or (self.use_local_output and self.output_layouts == _WHOLE):
            return y
        y = DTensor.from_local(y, mesh, _WHOLE, run_check=False).redistribute(placements=self.output_layouts)
        return y.to_local() if self.use_local_output else y


class ColwiseParallel(_Options, _torch.ColwiseParallel):
    """torch.distributed.tensor.parallel.ColwiseParallel, whose layers in 8 bits become ColumnParallelLinear."""

    _layer = ColumnParallelLinear


class RowwiseParallel(_Options, _torch.RowwiseParallel):
    """torch.distributed.tensor.parallel.RowwiseParallel, whose layers in 8 bits become RowParallelLinear."""

    _layer = RowParallelLinear


def become(module: torch.nn.Module, made: torch.nn.Module) -> None:
    """Makes a module another one where it stands: whoever holds it has the other from now on. Its hooks stay."""
    hooks = {name: value for name, value in module.__dict__.items() if name.endswith("_hooks")}
    module.__class__ = type(made)
    module.__dict__ = {**made.__dict__, **hooks}


def _of_columns(layer, y, mesh):
    """The DTensor of what each rank has, where it has as many columns as DTensor would give it."""
    begin, end = layer.columns
    if (end - begin) * mesh.size() != layer.out_features or begin != (end - begin) * mesh.get_local_rank():
        raise NotImplementedError("ColwiseParallel: use_local_output must be True where ranks have different numbers of columns; "
                                  f"got False, and {end - begin} of {layer.out_features} on rank {mesh.get_local_rank()}")
    return DTensor.from_local(y, mesh, _COLUMNS, run_check=False)
