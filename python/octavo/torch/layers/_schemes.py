# SPDX-License-Identifier: Apache-2.0
"""The schemes of linear layers: types and granularities of weight [N, K] and activations [M, K]."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias, Union

import torch

from ..._typing import Rounding
from ..._typing import Scheme as SchemeName  # what quantize_ takes

__all__ = ["SCHEMES", "Scheme", "SchemeArgument", "SchemeName"]

# One scheme for all layers, or of each pattern of names its own; None: they stay in float.
SchemeArgument: TypeAlias = Union[SchemeName, Mapping[str, Union[SchemeName, None]]]


BLOCKS = (16, 64, 256)  # that activations and weights are rotated by


class Scheme(NamedTuple):
    dtype: torch.dtype
    weight: str  # granularity of the stored weight [N, K]
    weight_kn: str  # the same, read as mat2 [K, N]
    activation: str | None  # None: as they are
    rounding: Rounding = "none"  # of both sides' scales

    def rule(self, activation: str | None = None, rotation: int = 0) -> dict[str, Any]:
        """How activations are quantised, as arguments of octavo.pack. rotation: the block that they are rotated by; 0: none."""
        if self.activation is None:
            return {}
        rule: dict[str, Any] = {"activation": str(self.dtype).removeprefix("torch."),
                                "activation_granularity": activation or self.activation}
        if rotation:
            rule["rotation"] = rotation
        return rule if self.rounding == "none" else {**rule, "rounding": self.rounding}


SCHEMES = {
    "int8-dynamic": Scheme(torch.int8, "token", "channel", "token"),
    "fp8-dynamic": Scheme(torch.float8_e4m3fn, "token", "channel", "token"),
    "fp8-block": Scheme(torch.float8_e4m3fn, "block128x128", "block128x128", "group128"),
    "llm-int8": Scheme(torch.int8, "token", "channel", "token"),
    "int8-weight-only": Scheme(torch.int8, "token", "channel", None),
    "fp8-weight-only": Scheme(torch.float8_e4m3fn, "token", "channel", None),
    "mxfp8": Scheme(torch.float8_e4m3fn, "group32", "group32", "group32", "power_of_two"),
}
