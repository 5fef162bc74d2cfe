# SPDX-License-Identifier: Apache-2.0
"""Weights in parts, one for each rank of a group of processes."""

from typing import Sequence

from . import _octavo
from ._octavo import Checkpoint, Weight
from ._taking import taking
from ._typing import ShardAxis


@taking()
def shard(weight: Weight, axis: ShardAxis, rank: int, world: int) -> Weight:
    """A rank's part of a weight, without a change of any bit.

    The part keeps the scales of the cells that it touches; `quantized.row0` and `col0` say where in the first of them it
    begins. Of an act-order weight along K it has its part of `columns`, which stay columns of the whole activations.

    Args:
        weight: octavo.types.Weight [N, K].
        axis: "columns" (N): the rank gives its columns of the output; "rows" (K): it has its columns of the
            activations, and the ranks' sums are added.
        rank, world: which part, of how many.

    Returns:
        octavo.types.Weight.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.ones((8, 4), numpy.float32))
        >>> octavo.sharding.shard(weight, "columns", 1, 2)
        Weight(int8-dynamic, int8 [4, 4])
    """
    return _octavo.shard(weight, axis, rank, world)


@taking()
def shard_range(weight: Weight, axis: ShardAxis, rank: int, world: int) -> tuple[int, int]:
    """The part of N or K that a rank has, in whole cells of the weight's scales and of its activations' groups.

    Args:
        weight, axis, rank, world: as in octavo.sharding.shard.

    Returns:
        (begin, end).

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.ones((8, 4), numpy.float32))
        >>> octavo.sharding.shard_range(weight, "columns", 1, 2)
        (4, 8)
    """
    return _octavo.shard_range(weight, axis, rank, world)


@taking()
def unshard(parts: Sequence[Weight], axis: ShardAxis) -> Weight:
    """The whole of parts that follow each other: octavo.sharding.shard's exact inverse.

    Args:
        parts: in the order of ranks.
        axis: as they were cut.

    Returns:
        octavo.types.Weight.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.ones((8, 4), numpy.float32))
        >>> parts = [octavo.sharding.shard(weight, "columns", rank, 2) for rank in range(2)]
        >>> octavo.sharding.unshard(parts, "columns")
        Weight(int8-dynamic, int8 [8, 4])
    """
    return _octavo.unshard(list(parts), axis)


@taking()
def read_shard(checkpoint: Checkpoint, prefix: str | Sequence[str], axis: ShardAxis, rank: int, world: int) -> Weight:
    """octavo.sharding.shard(checkpoint.weight(prefix), axis, rank, world), reading no other codes.

    Codes packed into int32 and bitsandbytes' tiled orders are read whole, and so are scales.

    Args:
        checkpoint: what octavo.open_checkpoint gave.
        prefix: a layer's name without ".weight"; or several, of layers that read the same activations (query, key and
            value; gate and up): each is cut by itself, and the parts are stacked as octavo.checkpoints.fuse does.
        axis, rank, world: as in octavo.sharding.shard.

    Returns:
        octavo.types.Weight.

    Raises:
        ValueError: an argument breaks a rule; the sentence names both.

    Example:
        >>> import numpy, octavo
        >>> weight = octavo.checkpoints.quantize_weight(numpy.ones((8, 4), numpy.float32))
        >>> octavo.checkpoints.write_checkpoint("whole.safetensors", {"fc": weight})
        >>> octavo.sharding.read_shard(octavo.open_checkpoint("whole.safetensors"), "fc", "columns", 0, 2)
        Weight(int8-dynamic, int8 [4, 4])
    """
    return _octavo.read_shard(checkpoint, [prefix] if isinstance(prefix, str) else list(prefix), axis, rank, world)
