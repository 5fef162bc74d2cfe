# SPDX-License-Identifier: Apache-2.0
"""The public modules of the Python package: those with __all__, found by walking it."""

import importlib
import pkgutil
import warnings
from types import ModuleType

# Importing these says that bitsandbytes' own are meant (octavo/bnb/_absent.py).
STAND_INS = {"octavo.bnb.optim", "octavo.bnb.research", "octavo.bnb.utils"}


def public_modules() -> list[ModuleType]:
    """In the order of their names, octavo first."""
    octavo = importlib.import_module("octavo")
    names = ["octavo", *sorted(module.name for module in pkgutil.walk_packages(octavo.__path__, "octavo."))]
    found = []
    for name in names:
        if any(part.startswith("_") for part in name.split(".")) or name in STAND_INS:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(name)
        if hasattr(module, "__all__"):
            found.append(module)
    return found
