# SPDX-License-Identifier: Apache-2.0
"""The schemes of linear layers: types and granularities of weight [N, K] and activations [M, K]."""

from typing import Any, NamedTuple

import torch

from ..._typing import Scheme as SchemeName  # what quantize_ takes

__all__ = ["SCHEMES", "Scheme", "SchemeName"]


class Scheme(NamedTuple):
    dtype: torch.dtype
    weight: str  # granularity of the stored weight [N, K]
    weight_kn: str  # the same, read as mat2 [K, N]
    activation: str

    def rule(self, activation: str | None = None) -> dict[str, Any]:
        """How activations are quantised, as arguments of octavo.pack."""
        return {"activation": str(self.dtype).removeprefix("torch."),
                "activation_granularity": activation or self.activation}


SCHEMES = {
    "int8-dynamic": Scheme(torch.int8, "token", "channel", "token"),
    "fp8-dynamic": Scheme(torch.float8_e4m3fn, "token", "channel", "token"),
    "fp8-block": Scheme(torch.float8_e4m3fn, "block128x128", "block128x128", "group128"),
    "llm-int8": Scheme(torch.int8, "token", "channel", "token"),
}
