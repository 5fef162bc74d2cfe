#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the tables that the codec tests read, with ml_dtypes and NumPy as the independent source.

    python3 tests/golden/make.py        (needs ml_dtypes 0.5 or newer; the tables in the tree are of 0.6.0)

Each table is an array that numpy.load reads, in records of a float32 `value` and its 8-bit `code`.

<type>.decode.npy   each 8-bit float type: the values of all 256 codes
<type>.encode.npy   each 8-bit float type: every midpoint between neighbouring finite values, the float32 numbers beside
                    it, both signs; IEEE overflow. int8 and uint8: every k + 1/2 in range and beyond, NaN, infinities
"""
import pathlib
import re

import ml_dtypes
import numpy as np

HERE = pathlib.Path(__file__).parent
TABLE = (HERE.parent.parent / "include/octavo/dtype.hpp").read_text()
RECORD = np.dtype([("value", "<f4"), ("code", "u1")])
FLOAT8 = [*re.findall(r"float_row\((float8_\w+),", TABLE), "float8_e8m0fnu"]


def decode_rows(name: str):
    codes = np.arange(256, dtype=np.uint8)
    return zip(codes.view(getattr(ml_dtypes, name)).astype(np.float32), codes)


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
        yield x, np.asarray(x, np.float32).astype(dtype).view(np.uint8)


def integer_rows(name: str):
    limits = np.iinfo(name)
    halves = np.arange(limits.min - 3, limits.max + 3, 0.5)
    for x in np.concatenate([halves, [1e9, -1e9, np.inf, -np.inf]]).astype(np.float32):
        yield x, int(np.clip(np.rint(np.float64(x)), limits.min, limits.max)) & 0xFF
    yield np.float32(np.nan), 0


def write(file: str, rows) -> None:
    np.save(HERE / file, np.array(list(rows), RECORD))


with np.errstate(all="ignore"):
    for name in FLOAT8:
        write(f"{name}.decode.npy", decode_rows(name))
        write(f"{name}.encode.npy", encode_rows(name))
    for name in ("int8", "uint8"):
        write(f"{name}.encode.npy", integer_rows(name))
