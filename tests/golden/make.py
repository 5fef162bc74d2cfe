#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables that the codec tests read, with ml_dtypes and NumPy as the independent source.

    python3 tests/golden/make.py        (needs ml_dtypes 0.5 or newer)

decode.txt   type code value-bits           all 256 codes of each 8-bit float type (NaN as "nan")
encode.txt   type float32-bits code         every midpoint between neighbouring finite values, the
                                            float32 numbers beside it, both signs; IEEE overflow
integer.txt  type float32-bits value        every k + 1/2 in range and beyond, NaN, infinities
"""
import pathlib
import re

import ml_dtypes
import numpy as np

HERE = pathlib.Path(__file__).parent
TABLE = (HERE.parent.parent / "include/octavo/dtype.hpp").read_text()
FLOAT8 = [*re.findall(r"float_row\((float8_\w+),", TABLE), "float8_e8m0fnu"]


def bits(value: np.float32) -> str:
    return f"{np.float32(value).view(np.uint32):08x}"


def decode_rows(name: str):
    values = np.arange(256, dtype=np.uint8).view(getattr(ml_dtypes, name)).astype(np.float32)
    for code, value in enumerate(values):
        yield f"{name} {code:02x} {'nan' if np.isnan(value) else bits(value)}"


def interesting(name: str):
    dtype = getattr(ml_dtypes, name)
    values = np.arange(256, dtype=np.uint8).view(dtype).astype(np.float64)
    finite = np.unique(np.abs(values[np.isfinite(values)]))
    points = set(finite)
    for low, high in zip(finite, finite[1:]):
        points.add((low + high) / 2)
    points.add(finite[-1] * 1.5)
    points.add(float(finite[-1]) + float(finite[-1] - finite[-2]) / 2)
    signs = [1.0] if name == "float8_e8m0fnu" else [1.0, -1.0]
    for point in sorted(points):
        middle = np.float32(point)
        if not np.isfinite(middle):
            continue
        for x in (np.nextafter(middle, np.float32(0)), middle, np.nextafter(middle, np.float32(np.inf))):
            if np.isfinite(x) and (x != 0 or name != "float8_e8m0fnu"):
                yield from (np.float32(sign * x) for sign in signs)


def encode_rows(name: str):
    dtype = getattr(ml_dtypes, name)
    for x in interesting(name):
        # ml_dtypes 0.5 rounds all float32 subnormals above 2^-127 up to e8m0's code 1: not taken as a reference.
        if name == "float8_e8m0fnu" and x < 2.0**-126:
            continue
        code = np.asarray(x, np.float32).astype(dtype).view(np.uint8)
        yield f"{name} {bits(x)} {int(code):02x}"


def integer_rows(name: str):
    limits = np.iinfo(name)
    halves = np.arange(limits.min - 3, limits.max + 3, 0.5)
    extra = [np.float32(v) for v in (1e9, -1e9, np.inf, -np.inf)]
    for x in [np.float32(h) for h in halves] + extra:
        yield f"{name} {bits(x)} {int(np.clip(np.rint(np.float64(x)), limits.min, limits.max))}"
    yield f"{name} {bits(np.float32(np.nan))} 0"


def write(file: str, rows) -> None:
    text = f"# ml_dtypes {ml_dtypes.__version__}, by make.py\n" + "\n".join(rows) + "\n"
    (HERE / file).write_text(text)


with np.errstate(all="ignore"):
    write("decode.txt", [row for name in FLOAT8 for row in decode_rows(name)])
    write("encode.txt", [row for name in FLOAT8 for row in encode_rows(name)])
    write("integer.txt", [row for name in ("int8", "uint8") for row in integer_rows(name)])
