# SPDX-License-Identifier: Apache-2.0
"""What will run, and why."""

from . import _octavo


def explain(*arguments, **options):
    """Every backend's answer to a problem, before it runs.

    explain("scaled_mm int8:int8:bf16 scale=token:channel 16x4096x4096") takes a problem line, which
    makes no operands; explain(input, mat2, ...) takes the arguments of octavo.scaled_mm.

    Returns: octavo.Explanation, which prints as a table.
    """
    if arguments and isinstance(arguments[0], str):
        return _octavo.explain_line(*arguments, **options)
    return _octavo.explain_scaled_mm(*arguments, **options)
