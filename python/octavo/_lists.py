# SPDX-License-Identifier: Apache-2.0
"""octavo.grouped_mm over lists."""

from typing import Any

from . import _octavo
from ._integers import narrow
from ._octavo import UNDEFINED
from ._routing import is_torch, torch_operations


def refuse_given(operation: str, options: tuple[tuple[str, bool], ...]) -> None:
    """An option that lists do not take must not be given."""
    for name, given in options:
        if given:
            raise ValueError(f"{operation}: {name} must be left out for lists of inputs; got one")


def grouped_mm_list(inputs: Any, weights: Any, biases: Any, out_dtype: Any, scale_a: Any, scale_b: Any,
                    granularity_a: str | None, granularity_b: str | None, subnormals: str | None,
                    backend: str | None, out: Any) -> Any:
    inputs = [narrow("grouped_mm", f"inputs[{i}]", x) for i, x in enumerate(inputs)]
    if isinstance(weights, (list, tuple)):
        weights = [narrow("grouped_mm", f"weights[{i}]", w) for i, w in enumerate(weights)]
    lists = torch_operations() if any(is_torch(x) for x in inputs) else _octavo
    return lists.grouped_mm_list(inputs, weights, biases, out_dtype, _entries(scale_a), _entries(scale_b),
                                 granularity_a, granularity_b, out, subnormals, backend)


def _entries(scales: Any) -> Any:
    """A list of scales, or none; UNDEFINED is the default of the tensor forms."""
    return None if scales is UNDEFINED else scales
