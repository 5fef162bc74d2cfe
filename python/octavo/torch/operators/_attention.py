# SPDX-License-Identifier: Apache-2.0
"""octavo::attention, over keys and values in 8 bits."""

import torch

from ... import _octavo
from ._library import define, direct


def _kernel(*arguments):
    return _octavo.attention(*arguments)


def _fake(q, *_):
    return torch.empty_like(q, memory_format=torch.contiguous_format)


attention = define(
    "attention(Tensor q, Tensor keys, Tensor key_scales, Tensor values, Tensor value_scales, Tensor? block_table, "
    "Tensor? lengths, Tensor? starts, float scale, int window, bool bidirectional, str? backend) -> Tensor", _kernel, _fake)
call_attention = direct(attention)
