# SPDX-License-Identifier: Apache-2.0
"""LLM.int8() and plain int8 where activations have six outlier columns: errors against float64.

Run as a program it prints the table of docs/llm-int8.md.
"""

import numpy as np
import pytest

import octavo

M, N, OUTLIERS, THRESHOLD = 64, 512, 6, 6.0


def problem(k, seed=0):
    """Activations N(0, 1) with six columns of magnitude 20 to 60 and any sign, weights N(0, 1) / sqrt(k)."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((M, k)).astype(np.float32)
    columns = np.sort(rng.choice(k, OUTLIERS, replace=False))
    x[:, columns] = rng.uniform(20, 60, (M, OUTLIERS)) * rng.choice([-1, 1], (M, OUTLIERS))
    return x, (rng.standard_normal((N, k)) / k ** 0.5).astype(np.float32), columns


def relative_error(y, x, weight):
    exact = x.astype(np.float64) @ weight.astype(np.float64).T
    return float(np.linalg.norm(y - exact) / np.linalg.norm(exact))


def errors(k, seed=0):
    """Relative Frobenius errors: int8 per token, LLM.int8() and the latter with original weights."""
    x, weight, expected = problem(k, seed)
    plain = octavo.linear(x, octavo.checkpoints.quantize_weight(weight, "int8-dynamic").pack())

    stored = octavo.checkpoints.quantize_weight(weight, "llm-int8").quantized
    mixed = octavo.linear(x, octavo.pack(stored.T, activation="int8", llm_int8=True,
                                         outlier_threshold=THRESHOLD))

    codes, absmax, columns = octavo.llm_int8.int8_vectorwise_quant(x, threshold=THRESHOLD)
    assert np.array_equal(columns, expected)
    weight_codes, weight_absmax, _ = octavo.llm_int8.int8_vectorwise_quant(weight)
    original = octavo.llm_int8.int8_mixed_scaled_mm(x, codes, weight_codes, absmax, weight_absmax,
                                           outlier_cols=columns, original_weight=weight)
    return tuple(relative_error(y, x, weight) for y in (plain, mixed, original))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k", [1024, 4096])
def test_float_columns_save_what_outliers_cost(k, seed):
    plain, mixed, original = errors(k, seed)
    assert plain >= 4 * mixed, (plain, mixed)
    assert plain >= 8 * original, (plain, original)


if __name__ == "__main__":
    print("| K | int8 per token | LLM.int8, threshold 6 | original outlier weights |")
    print("|---:|---:|---:|---:|")
    for width in (1024, 4096):
        print(f"| {width} | {' | '.join(f'{error:.4f}' for error in errors(width))} |")
