# SPDX-License-Identifier: Apache-2.0
"""PyTorch's own products of CPU tensors on Octavo's kernels, for as long as a handle is active.

Kernels are put before PyTorch's into its dispatcher, once for all handles and for the whole process, and taken out when
the last handle is removed: PyTorch's kernels are in their places again, whatever the order of removal. What Octavo
refuses goes to PyTorch's kernel with the same arguments.
"""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Callable

import torch

from ..._locks import rlock
from ..._html import ShownAsText
from . import _aten, _dispatched

_OPERATORS: dict[str, Callable[..., torch.Tensor]] = {
    "_int_mm": _aten.int_mm,
    "_int_mm.out": _aten.int_mm,
    "_scaled_mm": _aten.scaled_mm,
    "_scaled_mm.out": _aten.scaled_mm,
    "_scaled_mm_v2": _aten.scaled_mm_v2,
    "_scaled_mm_v2.out": _aten.scaled_mm_v2,
    "_grouped_mm": _aten.grouped_mm,
    "_scaled_grouped_mm": _aten.scaled_grouped_mm,
    "_scaled_grouped_mm_v2": _aten.scaled_grouped_mm_v2,
}
_SHAPES = {"_scaled_grouped_mm_v2": _aten.scaled_grouped_mm_v2_shape}  # of operators for which PyTorch has none

_REASONS = 32  # so many are told apart


@dataclass
class OverrideCalls:
    """The calls of one of PyTorch's operators: by Octavo, by PyTorch, and why by PyTorch."""

    octavo: int = 0
    torch: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


class Override(ShownAsText):
    """What `override` returns: a handle, and a context manager that removes it at its end."""

    def __init__(self) -> None:
        self._taken = dict.fromkeys(_aten.NAMES, 0)
        self._passed: dict[str, Counter[str]] = {}  # by reason

    @property
    def active(self) -> bool:
        """Whether it has not been removed."""
        return self in _active

    @property
    def calls(self) -> dict[str, OverrideCalls]:
        """What has run since: each operator that was called, by its name in torch.ops.aten."""
        with _lock:
            rows = {name: (taken, Counter(self._passed.get(name, ()))) for name, taken in sorted(self._taken.items())}
        return {name: OverrideCalls(taken, sum(reasons.values()), reasons)
                for name, (taken, reasons) in rows.items() if taken or reasons}

    def remove(self) -> None:
        """Ends it; PyTorch's kernels run again where no other handle is active. A second time does nothing."""
        global _active
        with _lock:
            _active = tuple(handle for handle in _active if handle is not self)
            if not _active:
                _uninstall()

    def __enter__(self) -> "Override":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.remove()

    def __str__(self) -> str:
        calls = self.calls
        if not calls:
            return "no call yet"
        width = max(len(name) for name in calls)
        lines = [f"{'operator':{width}}  {'octavo':>8} {'torch':>8}"]
        for name, row in calls.items():
            lines.append(f"{name:{width}}  {row.octavo:8} {row.torch:8}")
            lines += [f"{'':{width}}  {count:>17}  {reason}" for reason, count in row.reasons.most_common()]
        return "\n".join(lines)

    def _pass(self, name: str, refusal: Exception) -> None:
        reasons = self._passed.setdefault(name, Counter())
        reason = str(refusal).partition("; got ")[0]  # the rule; what was given differs from call to call
        if reason not in reasons and len(reasons) >= _REASONS:
            reason = "other reasons"
        reasons[reason] += 1


def override() -> Override:
    """PyTorch's own products of CPU tensors run Octavo's kernels until the handle is removed.

    torch._int_mm, torch._scaled_mm, _scaled_mm_v2, _grouped_mm, _scaled_grouped_mm, _scaled_grouped_mm_v2, their out=
    variants, and so torch.nn.functional.scaled_mm, grouped_mm and scaled_grouped_mm; in eager mode and in compiled
    graphs, whether these were compiled before or within; in every thread. What Octavo refuses runs PyTorch's kernel
    as it would have; `print(handle)` says how often each ran, and why.

    Enter and leave while no other thread multiplies: PyTorch's table of kernels has no lock.

    Returns:
        a handle with remove(), which is a context manager, too. Handles may be nested and removed in any order.

    Example:
        >>> import torch, octavo.torch
        >>> with octavo.torch.override() as handle:
        ...     y = torch._int_mm(torch.ones(2, 4, dtype=torch.int8), torch.ones(4, 3, dtype=torch.int8))
        >>> handle.calls["_int_mm"].octavo
        1
    """
    global _active
    handle = Override()
    with _lock:
        if not _active:
            _install()
        _active = (*_active, handle)
    return handle


# Guards what follows, and the counts.
_lock = rlock()
_active: tuple[Override, ...] = ()
_library: torch.library.Library | None = None


def _install() -> None:
    global _library
    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning only once for all operators")
        for name, compute in _OPERATORS.items():
            if _overload(name) is not None:
                library.impl(name, _kernel(name, compute), "CPU", with_keyset=True)
        for name, shape in _SHAPES.items():
            if _overload(name) is not None and not torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{name}", "Meta"):
                library.impl(name, shape, "Meta")
    _library = library
    _dispatched.enable()


def _uninstall() -> None:
    global _library
    library, _library = _library, None
    if library is not None:
        _dispatched.disable()
        library._destroy()  # as torch.library._scoped_library does
        torch._subclasses.FakeTensorMode.cache_clear()  # it may know shapes that are no longer to be had


def _overload(name: str) -> Any:
    """The operator, or None where this version of PyTorch has not got it."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet, None), overload or "default", None)


def _kernel(name: str, compute: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The kernel of an operator, made before it takes the place of PyTorch's."""
    theirs = _their_kernel(name)
    operator = name.partition(".")[0]

    def kernel(keys: Any, *arguments: Any, **named: Any) -> torch.Tensor:
        try:
            result = compute(*arguments, **named)
        except (ValueError, NotImplementedError) as refusal:
            with _lock:
                for handle in _active:
                    handle._pass(operator, refusal)
        else:
            with _lock:
                for handle in _active:
                    handle._taken[operator] += 1
            return result
        return theirs(keys, *arguments, **named)

    return kernel


def _their_kernel(name: str) -> Callable[..., torch.Tensor]:
    """PyTorch's kernel for CPUs; where it has none, its own sentence about that."""
    if torch._C._dispatch_has_computed_kernel_for_dispatch_key(f"aten::{name}", "CPU"):
        return torch.library.get_kernel(f"aten::{name}", "CPU").call_boxed

    def missing(keys: Any, *arguments: Any, **named: Any) -> torch.Tensor:
        raise NotImplementedError(f"Could not run 'aten::{name}' with arguments from the 'CPU' backend.")

    return missing
