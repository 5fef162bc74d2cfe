# SPDX-License-Identifier: Apache-2.0
"""The schemes of linear layers: types and granularities of weight [N, K] and activations [M, K]."""

from typing import Any, Literal, NamedTuple

import torch

# Names of schemes, Octavo's own and the ecosystem's; capitals and underscores make no difference to Octavo.
SchemeName = Literal["int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "int8", "INT8", "W8A8", "w8a8", "w8a8-int8",
                     "W8A8_INT8", "FP8_DYNAMIC", "w8a8-fp8", "W8A8_FP8", "FP8_BLOCK", "llm.int8", "bitsandbytes"]


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
