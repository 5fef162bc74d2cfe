# SPDX-License-Identifier: Apache-2.0
"""What calibration found: how large the inputs of a model's linear layers are, column by column, and what follows."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from .. import _octavo

_LARGEST = {"int8": 127.0, "float8_e4m3fn": _octavo.float8_types()["float8_e4m3fn"]}
Code = Literal["int8", "float8_e4m3fn"]


@dataclass(frozen=True)
class LayerCalibration:
    """The inputs that a linear layer saw.

    column_min, column_max: of each of the K columns, float32 [K]. smooth: factors of SmoothQuant, float32 [K]: the layer's
    input is divided by them and its weight's columns are multiplied. threshold: of outlier columns.
    """

    column_min: torch.Tensor
    column_max: torch.Tensor
    smooth: torch.Tensor
    threshold: float
    code: Code

    @property
    def column_absmax(self) -> torch.Tensor:
        """The largest magnitude of each column, float32 [K]."""
        return torch.maximum(self.column_min.abs(), self.column_max.abs())

    @property
    def input_scale(self) -> float:
        """The static scale of all inputs: the largest magnitude over the code's largest; 1 where all were 0."""
        largest = float(self.column_absmax.max()) if len(self.column_min) else 0.0
        return largest / _LARGEST[self.code] or 1.0

    @property
    def outlier_columns(self) -> list[int]:
        """Columns that held an element of the threshold's magnitude and more, ascending."""
        return torch.nonzero(self.column_absmax >= self.threshold).flatten().tolist()

    def smoothed(self) -> "LayerCalibration":
        """That of the layer once its input is divided by `smooth`."""
        return replace(self, column_min=self.column_min / self.smooth, column_max=self.column_max / self.smooth,
                       smooth=torch.ones_like(self.smooth))


class Calibration(Mapping[str, LayerCalibration]):
    """LayerCalibration by layer, under the names of the model's modules."""

    def __init__(self, layers: Mapping[str, LayerCalibration], in_files: Mapping[str, str] | None = None) -> None:
        """in_files: what the model's files call layers, where that is another name."""
        self._layers = dict(layers)
        self.in_files = dict(in_files or {})

    def __getitem__(self, name: str) -> LayerCalibration:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """{layer: {"input_scale", "outlier_columns", "smooth", ...}} under the names of the model's files."""
        return {self.in_files.get(name, name): {
            "input_scale": row.input_scale, "outlier_columns": row.outlier_columns, "smooth": row.smooth.tolist(),
            "column_min": row.column_min.tolist(), "column_max": row.column_max.tolist(), "threshold": row.threshold,
            "code": row.code} for name, row in self.items()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes to_dict() as JSON, which `octavo quantize` reads as well. Raises: OSError."""
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file)
            file.write("\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """What `save` wrote, under the names of the model's files. Raises: OSError, ValueError."""
        with open(path, encoding="utf-8") as file:
            try:
                rows = json.load(file)
            except json.JSONDecodeError as error:
                raise ValueError(f"Calibration.load: file must be JSON ({error}); got {os.fspath(path)}") from None
        if not isinstance(rows, dict):
            raise ValueError(f"Calibration.load: file must hold an object of layers; got {type(rows).__name__}")
        return cls({name: _row(name, row) for name, row in rows.items()})


def _row(name, row):
    try:
        low, high, smooth = (torch.tensor(row[key], dtype=torch.float32) for key in ("column_min", "column_max", "smooth"))
        made = LayerCalibration(low, high, smooth, float(row["threshold"]), row["code"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"Calibration.load: layer must have column_min, column_max, smooth, threshold and code; got "
                         f"{name!r} ({error!r})") from None
    if not (low.ndim == 1 and low.shape == high.shape == smooth.shape and made.code in _LARGEST
            and math.isfinite(made.threshold) and all(t.isfinite().all() for t in (low, high, smooth))
            and bool((smooth > 0).all()) and bool((low <= high).all())):
        raise ValueError(f"Calibration.load: layer must have finite columns of one length, factors above 0 and code "
                         f"{' or '.join(_LARGEST)}; got {name!r}")
    return made
