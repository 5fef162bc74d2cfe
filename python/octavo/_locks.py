# SPDX-License-Identifier: Apache-2.0
"""Locks that a forked child finds open.

A child has the thread alone that forked: a lock that another thread held would stay held for ever. What that thread was
changing is in the child as it was at that moment.
"""

import os
import threading
import weakref
from typing import Any

_locks: "weakref.WeakSet[Any]" = weakref.WeakSet()


def rlock() -> Any:
    """A threading.RLock."""
    made = threading.RLock()
    _locks.add(made)
    return made


def _open() -> None:
    for lock in _locks:
        lock._at_fork_reinit()  # as those of the standard library's own modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)
