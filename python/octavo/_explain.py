# SPDX-License-Identifier: Apache-2.0
"""What will run, and why."""

import inspect
from typing import Any

from . import _octavo
from ._again import REFUSED, again
from ._kinds import KINDS
from ._octavo import Explanation, PackedWeight, Quantized
from ._operations import scaled_mm


def explain(*arguments: Any, **options: Any) -> Explanation:
    """Every backend's answer to a problem, before it runs.

    explain("scaled_mm int8:int8:bf16 scale=token:channel 16x4096x4096") takes a problem line, which
    makes no operands; explain(x, packed) the arguments of octavo.linear; explain(input, mat2, ...)
    those of octavo.scaled_mm.

    Args:
        arguments, options: a problem line, or the arguments of octavo.linear or octavo.scaled_mm.

    Returns:
        octavo.types.Explanation, which prints as a table.

    Raises:
        ValueError: a line or an argument that breaks a rule.

    Example:
        >>> import octavo
        >>> octavo.explain("scaled_mm int8:int8:bf16 scale=token:channel 16x64x32").error_bound
        0.0
    """
    try:
        return _explained(arguments, options)
    except REFUSED as error:
        if arguments and isinstance(arguments[0], str):
            return again(error, explain, {"backend": "?text"}, options)
        given = inspect.signature(scaled_mm).bind(*arguments, **options).arguments
        return again(error, explain, KINDS["scaled_mm"], given)


def _explained(arguments, options):
    if arguments and isinstance(arguments[0], str):
        return _octavo.explain_line(*arguments, **options)
    if len(arguments) == 2 and type(arguments[1]) is PackedWeight and arguments[1].activation is not None:
        x, weight = arguments
        if type(x) is not Quantized:
            return _octavo.explain_linear(x.reshape(-1, weight.k), weight, **options)
    return _octavo.explain_scaled_mm(*arguments, **options)
