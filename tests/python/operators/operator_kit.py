# SPDX-License-Identifier: Apache-2.0
"""Calls of operators by their schemas."""

import torch


def arguments(operator, *inputs, **changes):
    """Every argument of an operator: absent where it may be, false where it is a flag."""
    values = {a.name: None if isinstance(a.type, torch.OptionalType) else a.name == "saturate"
              for a in operator._schema.arguments}
    values |= dict(zip(values, inputs)) | changes
    return tuple(values.values())
