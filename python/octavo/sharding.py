# SPDX-License-Identifier: Apache-2.0
"""Weights in parts, one for each rank; octavo.torch.parallel has layers of them (docs/guides/ranks.md)."""

from ._sharding import read_shard, shard, shard_range, unshard

__all__ = ["read_shard", "shard", "shard_range", "unshard"]
