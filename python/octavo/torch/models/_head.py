# SPDX-License-Identifier: Apache-2.0
"""The output head by name: which layer it is, and its scheme."""

import torch

from ... import _octavo
from ._linear_modules import is_linear

# Short names, of schemes with a scale for each row.
_SHORT = {"int8": "int8-dynamic", "fp8": "fp8-dynamic"}


def head_scheme(operation: str, head: str | None) -> str | None:
    """The scheme that a caller names. Raises: ValueError (an unknown one)."""
    if head is None:
        return None
    if not isinstance(head, str):
        raise ValueError(f"{operation}: head must be a scheme's name or None; got {head!r}")
    return _octavo.canonical_scheme(_SHORT.get(head, head))


def output_head(model: torch.nn.Module) -> torch.nn.Module | None:
    """What model.get_output_embeddings() gives; None where there is no such method."""
    outputs = getattr(model, "get_output_embeddings", None)
    return outputs() if callable(outputs) else None


def head_of(operation: str, model: torch.nn.Module, head: str | None) -> dict[str, str]:
    """The scheme of each place of the head: what model.get_output_embeddings() gives.

    Raises:
        ValueError: an unknown scheme, a model without a head that is a linear layer.
    """
    scheme = head_scheme(operation, head)
    if scheme is None:
        return {}
    layer = output_head(model)
    if layer is None or not is_linear(layer):
        got = "none" if layer is None else type(layer).__name__
        raise ValueError(f"{operation}: head must be None for a model whose get_output_embeddings() gives no linear layer; got "
                         f"{head!r} for {type(model).__name__}, which gives {got}")
    return {path: scheme for path, module in model.named_modules(remove_duplicate=False) if module is layer}
