#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# Fits the polynomial behind fast_gelu: p with Q(a) = 1 / (2 p(a)^16), Q the normal tail.
"""Usage: fit_gelu.py   (needs numpy; prints the coefficients of vector_math.hpp, lowest first)

Least squares on a |a Q(a)| error, reweighted until the error is level (Lawson's method).
"""

import math

import numpy as np

LIMIT = 5.5  # beyond it, a Q(a) is below 1e-7
DEGREE = 7
POWER = 16


def main():
    angles = (np.arange(4000) + 0.5) * np.pi / 4000
    a = LIMIT * (1 - np.cos(angles)) / 2
    tail = np.array([math.erfc(x / math.sqrt(2)) for x in a])  # 2 Q(a)
    target = tail ** (-1 / POWER)
    slope = POWER * 0.5 * a * tail / target  # of a Q(a) by p
    columns = np.stack([(a / LIMIT) ** i for i in range(1, DEGREE + 1)], axis=1)
    weight = np.ones_like(a)
    best_error, best = math.inf, None
    for _ in range(200):
        scaled = (weight * slope)[:, None]
        fit, *_ = np.linalg.lstsq(columns * scaled, (target - 1) * scaled[:, 0], rcond=None)
        error = np.abs(0.5 * a / (1 + columns @ fit) ** POWER - 0.5 * a * tail)
        if error.max() < best_error:
            best_error, best = error.max(), fit
        weight *= np.sqrt(error / error.mean() + 0.02)
        weight /= weight.mean()
    print(f"largest error {best_error:.1e} before rounding to float32")
    for i, value in enumerate(np.r_[1, best / LIMIT ** np.arange(1, DEGREE + 1)]):
        print(f"  a^{i}  {np.float32(value):.8g}")


if __name__ == "__main__":
    main()
