# SPDX-License-Identifier: Apache-2.0
"""A process group of torch.distributed as what layers on ranks talk through."""

import collections

import torch
import torch.distributed as dist

_REDUCTIONS = {
    "max_int32": (torch.int32, dist.ReduceOp.MAX),
    "sum_int32": (torch.int32, dist.ReduceOp.SUM),
    "sum_int64": (torch.int64, dist.ReduceOp.SUM),
    "sum_float32": (torch.float32, dist.ReduceOp.SUM),
}

_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # torch before 2.13


class ProcessGroupRanks:
    """Messages between the ranks of a process group: octavo::Communicator, on memory of the host.

    Of a group whose backend talks between devices alone (NCCL), messages go through this process's current device. What
    another rank does not answer is the backend's error after the group's own timeout (`timeout` of init_process_group).

    Args:
        group: None: the default one.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not dist.is_initialized():
            raise ValueError("ProcessGroupRanks: torch.distributed must be initialised (torch.distributed.init_process_group); "
                             "got no process group")
        self.group = group if group is not None else dist.group.WORLD
        self.rank = dist.get_rank(self.group)
        self.size = dist.get_world_size(self.group)
        if self.rank < 0:
            raise ValueError("ProcessGroupRanks: this process must be in the group; got one that is not")
        devices = [entry.partition(":")[0] for entry in str(dist.get_backend_config(self.group)).split(",")]
        self._started: collections.deque[tuple[dist.Work | None, torch.Tensor, torch.Tensor]] = collections.deque()
        self._device = torch.device("cpu" if "cpu" in devices else devices[0])

    def all_reduce(self, reduction: str, memory: memoryview) -> None:
        dtype, op = _REDUCTIONS[reduction]
        if len(memory):
            self._exchange(_tensor(memory, dtype), lambda t: dist.all_reduce(t, op, self.group))

    def start_all_reduce(self, reduction: str, memory: memoryview) -> None:
        """all_reduce in the backend's own time; the memory is its until `wait`."""
        dtype, op = _REDUCTIONS[reduction]
        own = _tensor(memory, dtype) if len(memory) else torch.empty(0, dtype=dtype)
        there = own.to(self._device)
        work = dist.all_reduce(there, op, self.group, async_op=True) if len(memory) else None
        self._started.append((work, own, there))

    def wait(self) -> None:
        """Ends the oldest reduction that was started."""
        work, own, there = self._started.popleft()
        if work is not None:
            work.wait()
        if there is not own:
            own.copy_(there)

    def all_gather(self, part: memoryview, whole: memoryview) -> None:
        if not len(part):
            return
        own = _tensor(part).to(self._device)
        self._exchange(_tensor(whole), lambda t: _all_gather(t, own, group=self.group))

    def broadcast(self, root: int, memory: memoryview) -> None:
        if len(memory):
            self._exchange(_tensor(memory), lambda t: dist.broadcast(t, self._global(root), self.group))

    def send(self, to: int, memory: memoryview) -> None:
        if len(memory):
            dist.send(_tensor(memory).to(self._device), self._global(to), self.group)

    def receive(self, source: int, memory: memoryview) -> None:
        if len(memory):
            self._exchange(_tensor(memory), lambda t: dist.recv(t, self._global(source), self.group))

    def _exchange(self, own, talk):
        """What `talk` makes of a tensor, in its memory."""
        there = own.to(self._device)
        talk(there)
        if there is not own:
            own.copy_(there)

    def _global(self, rank):
        return dist.get_global_rank(self.group, rank)


def _tensor(memory, dtype=torch.uint8):
    return torch.frombuffer(memory, dtype=dtype)
