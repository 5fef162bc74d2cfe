# SPDX-License-Identifier: Apache-2.0
"""The weight of a frozen layer, as code that looks at `layer.weight` expects it."""

import torch
from torch.utils._pytree import tree_map

from .. import _octavo


class QuantizedWeight(torch.Tensor):
    """A packed weight that says it is a float tensor [out_features, in_features].

    It has the shape, type and device that the float weight had, and no memory of its own: whatever
    computes with it gets it dequantised. Layers do not compute with it.
    """

    @staticmethod
    def __new__(cls, packed, dtype, columns=None):
        weight = torch.Tensor._make_wrapper_subclass(cls, (packed.n, packed.k), dtype=dtype, device=packed.device)
        weight.packed = packed
        weight.columns = columns  # of the float weight, in the order of the codes'; None: the same
        return weight

    def __repr__(self):
        return f"QuantizedWeight({self.packed!r}, dtype={self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        def plain(value):
            return value.values() if isinstance(value, QuantizedWeight) else value

        return func(*tree_map(plain, args), **tree_map(plain, kwargs or {}))

    def values(self):
        """The dequantised weight."""
        quantized = self.packed.unpack(torch.empty(0, device="cpu")).T
        values = _octavo.dequantize(quantized, self.dtype)
        return values if self.columns is None else torch.empty_like(values).index_copy_(1, self.columns, values)
