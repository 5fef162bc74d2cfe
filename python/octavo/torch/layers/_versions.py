# SPDX-License-Identifier: Apache-2.0
"""Whether a float weight is still the one that codes were made of.

A version counter alone does not say so: fused optimisers write without raising it, another parameter has
a counter of its own, and freed memory is given out again. What is compared is the storage (by a weak
reference, so that its address cannot belong to another one meanwhile), the view of it, the counter, and
how many optimisers' steps have had the storage among their parameters.

A write through `.data` is seen by none of these; layers have `invalidate()` for it.
"""

import weakref

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..._locks import rlock


class _Storage:
    """A storage whose steps are counted while some Version looks at it."""

    def __init__(self, reference):
        self.reference = reference  # keeps the address from being given to another storage
        self.steps = 0


_storages: "weakref.WeakValueDictionary[int, _Storage]" = weakref.WeakValueDictionary()
_lock = rlock()


def _watch(storage):
    found = _storages.get(storage._cdata)
    if found is not None:
        return found
    with _lock:
        found = _storages.get(storage._cdata)
        if found is None:
            found = _storages[storage._cdata] = _Storage(StorageWeakRef(storage))
        return found


_steps = 0


def steps_taken() -> int:
    """How many optimisers' steps there were in this process."""
    return _steps


def _stepped(optimizer, args, kwargs):
    global _steps
    _steps += 1
    if not _storages:
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.layout is torch.strided:
                found = _storages.get(parameter.untyped_storage()._cdata)
                if found is not None:
                    found.steps += 1


register_optimizer_step_post_hook(_stepped)


class Version:
    """What a weight held at one moment; `of` says whether another moment's weight holds the same."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._storage = _watch(weight.untyped_storage())
        self._steps = self._storage.steps
        self._view = _view(weight)

    def of(self, weight: torch.Tensor) -> bool:
        """False, too, of inference tensors, which nothing counts the writes to."""
        return (not weight.is_inference() and weight.untyped_storage()._cdata == self._storage.reference.cdata
                and self._steps == self._storage.steps and self._view == _view(weight))


def _view(weight):
    return (weight.storage_offset(), weight.shape, weight.stride(), weight.dtype,
            None if weight.is_inference() else weight._version)
