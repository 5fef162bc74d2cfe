# SPDX-License-Identifier: Apache-2.0
"""What calibration found: how large the inputs of a model's linear layers are, column by column, and what follows."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch

from ... import _octavo

_LARGEST = {"int8": 127.0, "float8_e4m3fn": _octavo.float8_types()["float8_e4m3fn"]}
_KEY = "octavo_calibration"  # of the file's metadata
_VERSION = 1
_COLUMNS = ("column_min", "column_max", "smooth")
Code = Literal["int8", "float8_e4m3fn"]


@dataclass(frozen=True)
class LayerCalibration:
    """The inputs that a linear layer saw.

    column_min, column_max: of each of the K columns, float32 [K]. smooth: factors of SmoothQuant, float32 [K]: the layer's
    input is divided by them and its weight's columns are multiplied. threshold: of outlier columns. hessian: 2/n X^T X
    of the n inputs X [n, K], float32 [K, K], for GPTQ; layers that read one input share a tensor. None: not asked for.
    """

    column_min: torch.Tensor
    column_max: torch.Tensor
    smooth: torch.Tensor
    threshold: float
    code: Code
    hessian: torch.Tensor | None = None

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
        hessian = None if self.hessian is None else self.hessian / self.smooth / self.smooth[:, None]
        return replace(self, column_min=self.column_min / self.smooth, column_max=self.column_max / self.smooth,
                       smooth=torch.ones_like(self.smooth), hessian=hessian)


class Calibration(Mapping[str, LayerCalibration]):
    """LayerCalibration by layer, under the names of the model's modules."""

    def __init__(self, layers: Mapping[str, LayerCalibration], in_files: Mapping[str, str] | None = None,
                 norms: Mapping[str, Sequence[str]] | None = None) -> None:
        """in_files: what the model's files call modules, where that is another name. norms: of each norm that feeds
        calibrated layers and nothing else, those layers."""
        self._layers = dict(layers)
        self.in_files = dict(in_files or {})
        self.norms = {norm: tuple(behind) for norm, behind in (norms or {}).items()}

    def __getitem__(self, name: str) -> LayerCalibration:
        return self._layers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file that `octavo quantize --calibration` reads (docs/calibration.md), under the names of the
        model's files. Raises: OSError."""
        tensors: dict[str, torch.Tensor] = {}
        layers: dict[str, dict[str, object]] = {}
        hessians: dict[int, str] = {}  # by address: layers that read one input share a tensor
        for name, row in self.items():
            name = self.in_files.get(name, name)
            tensors.update({f"{name}.{field}": getattr(row, field).contiguous() for field in _COLUMNS})
            layers[name] = {"threshold": row.threshold, "code": row.code}
            if row.hessian is not None:
                stored = hessians.setdefault(row.hessian.data_ptr(), f"{name}.hessian")
                tensors.setdefault(stored, row.hessian.contiguous())
                layers[name]["hessian"] = stored
        norms = {self.in_files.get(norm, norm): [self.in_files.get(layer, layer) for layer in behind]
                 for norm, behind in self.norms.items()}
        text = json.dumps({"version": _VERSION, "layers": layers, "norms": norms})
        _octavo.write_tensors(os.fspath(path), tensors, {_KEY: text})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Calibration":
        """What `save` wrote, under the names of the model's files. Raises: OSError, ValueError, RuntimeError (no
        safetensors file)."""
        file = _octavo.open_checkpoint(os.fspath(path))
        try:
            found = json.loads(file.metadata.get(_KEY, ""))
        except json.JSONDecodeError as error:
            raise ValueError(f"Calibration.load: metadata {_KEY!r} must be JSON ({error}); got {os.fspath(path)}") from None
        if not (isinstance(found, dict) and found.get("version") == _VERSION
                and all(isinstance(found.get(field), dict) for field in ("layers", "norms"))):
            raise ValueError(f"Calibration.load: metadata {_KEY!r} must hold version {_VERSION}, layers and norms; got "
                             f"{str(found)[:80]}")
        hessians: dict[str, torch.Tensor] = {}
        made = {name: _row(file, name, row, hessians) for name, row in found["layers"].items()}
        lost = {str(layer) for behind in found["norms"].values() for layer in behind} - set(made)
        if lost:
            raise ValueError(f"Calibration.load: norms must name layers that are there; got {sorted(lost)[:4]}")
        return cls(made, norms=found["norms"])


def _row(file, name, row, hessians):
    try:
        low, high, smooth = (_tensor(file, f"{name}.{field}") for field in _COLUMNS)
        if (stored := row.get("hessian")) is not None and stored not in hessians:
            hessians[stored] = _tensor(file, stored)
        made = LayerCalibration(low, high, smooth, float(row["threshold"]), row["code"], hessians.get(stored))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"Calibration.load: layer must have column_min, column_max, smooth, threshold and code; got "
                         f"{name!r} ({error!r})") from None
    if not (low.ndim == 1 and low.shape == high.shape == smooth.shape and made.code in _LARGEST
            and math.isfinite(made.threshold) and all(t.isfinite().all() for t in (low, high, smooth))
            and bool((smooth > 0).all()) and bool((low <= high).all())):
        raise ValueError(f"Calibration.load: layer must have finite columns of one length, factors above 0 and code "
                         f"{' or '.join(_LARGEST)}; got {name!r}")
    if made.hessian is not None and not (made.hessian.shape == low.shape * 2 and made.hessian.isfinite().all()):
        raise ValueError(f"Calibration.load: hessian must be finite [{len(low)}, {len(low)}]; got "
                         f"{list(made.hessian.shape)} of layer {name!r}")
    return made


def _tensor(file, name):
    return torch.from_numpy(file.tensor(name)).to(torch.float32)
