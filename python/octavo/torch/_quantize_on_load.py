# SPDX-License-Identifier: Apache-2.0
"""What transformers calls for each weight that is quantised while it loads."""

from typing import TYPE_CHECKING, Any

import torch
from transformers.core_model_loading import ConversionOps

if TYPE_CHECKING:
    from ._quantizer import OctavoQuantizer


class QuantizeOnLoad(ConversionOps):
    """Hands a float weight to its layer; nothing is left for transformers to set."""

    def __init__(self, quantizer: "OctavoQuantizer") -> None:
        self._quantizer = quantizer

    @torch.no_grad()
    def convert(self, input_dict: dict[str, Any], model: torch.nn.Module | None = None,  # type: ignore[override]
                missing_keys: set[str] | None = None, **options: Any) -> dict[str, torch.Tensor]:
        for name in list(input_dict):
            value = input_dict.pop(name)
            assert model is not None
            self._quantizer.take(model, name, value[0] if isinstance(value, list) else value)
            if missing_keys is not None:
                missing_keys.discard(name)
        return {}
