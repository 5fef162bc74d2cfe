# SPDX-License-Identifier: Apache-2.0
"""What transformers calls to give each expert of a file its row of a small tensor."""

from typing import Any

import torch
from transformers.core_model_loading import ConversionOps


class OfEachExpert(ConversionOps):
    """Rows [E, ...] of one tensor to every part of every expert when a model is saved; nothing is loaded by it."""

    def convert(self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str],  # type: ignore[override]
                **options: Any) -> dict[str, torch.Tensor]:
        (value,) = input_dict.values()
        rows = value[0] if isinstance(value, list) else value
        return {name.replace("*", str(i)): row.clone() for name in target_patterns for i, row in enumerate(rows)}

    @property
    def reverse_op(self) -> "OfEachExpert":
        return self
