# SPDX-License-Identifier: Apache-2.0
"""transformers, which is no requirement of the package: there and new enough, or a sentence."""

import importlib.util


def has_transformers() -> bool:
    """Whether transformers is there and loads models as its version 5 does; tested from pyproject.toml's version on."""
    try:
        return importlib.util.find_spec("transformers.core_model_loading") is not None
    except (ImportError, ValueError):
        return False


def need_transformers(operation: str) -> None:
    """ImportError with what to install, unless transformers is there."""
    if not has_transformers():
        raise ImportError(f"{operation}: transformers must be installed, version 5.23 or later (pip install 'octavo[transformers]'); "
                          "got none or an older one")
