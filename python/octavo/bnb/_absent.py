# SPDX-License-Identifier: Apache-2.0
"""What bitsandbytes has and this package has not, said in a sentence."""


def absent(module, names):
    """A module's __getattr__: AttributeError for every name, with the reason for the known ones."""

    def getter(name):
        if name in names:
            raise AttributeError(f"{module}.{name} must come from bitsandbytes (octavo.bnb has LLM.int8() alone); got a "
                                 "request here")
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return getter
