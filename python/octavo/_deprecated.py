# SPDX-License-Identifier: Apache-2.0
"""Names that have another one now: they work, with a DeprecationWarning, until 1.0."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def deprecated(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns the caller of the public function that calls this."""
    warnings.warn(f"{old} is {new} now; the old name goes with 1.0", DeprecationWarning, stacklevel=stacklevel)


def moved(module: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """A module's __getattr__: names that are in other modules now, by their full new names."""

    def getter(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        deprecated(f"{module}.{name}", places[name])
        home, _, new = places[name].rpartition(".")
        return getattr(import_module(home), new)

    return getter
