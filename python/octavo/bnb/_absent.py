# SPDX-License-Identifier: Apache-2.0
"""What bitsandbytes has and this package has not, said in a sentence."""

import sys

# Modules of bitsandbytes that go on working where they were imported before its name went to octavo.bnb.
_BESIDE = frozenset({"optim", "research", "utils"})


def absent(module, names):
    """A module's __getattr__: AttributeError for every name, with the reason for the known ones."""

    def getter(name):
        beside = sys.modules.get(f"bitsandbytes.{name}") if name in _BESIDE and name in names else None
        if beside is not None:
            return beside
        if name in names:
            raise AttributeError(f"{module}.{name} must come from bitsandbytes ({_how(name)}); got a request here")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return getter


def refuse_import(name):
    """What importing one of its modules says, where the name bitsandbytes means octavo.bnb."""
    raise ImportError(f"bitsandbytes.{name} must come from bitsandbytes ({_how(name)}); got an import from octavo.bnb")


def _how(name):
    if name in _BESIDE:
        return f"import bitsandbytes.{name} before the name is given to octavo.bnb, which has LLM.int8() alone"
    return "octavo.bnb has LLM.int8() alone"
