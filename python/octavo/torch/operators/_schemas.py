# SPDX-License-Identifier: Apache-2.0
# Written by api/ from api/operations.toml; `python3 api` writes it again.
"""The operators' arguments: those of the extension module's functions, in their order."""

from typing import NamedTuple


class Schema(NamedTuple):
    name: str
    arguments: str
    slots: tuple[int, ...]  # positions of what has a gradient, in the extension module's order
    typed: tuple[int, ...]  # those of operands, whose gradients keep their types; all others are float32


SCALED_MM = Schema(
    "scaled_mm",
    "Tensor input, Tensor mat2, Tensor? scale_a, Tensor? scale_b, Tensor? bias, Tensor? scale_result, "
    "ScalarType? out_dtype, str? granularity_a, str? granularity_b, Tensor? alpha, Tensor? beta, Tensor? "
    "c, Tensor? azp, bool trans_a, bool trans_b, bool saturate, bool torch_compat, int k_chunks, str? "
    "subnormals, str? backend",
    slots=(0, 1, 4, 2, 3, 9, 10, 11, 5), typed=(0, 1, 11))

GROUPED_MM = Schema(
    "grouped_mm",
    "Tensor input, Tensor mat2, Tensor? offs, bool offs_prefix, Tensor? bias, ScalarType? out_dtype, "
    "Tensor? scale_a, Tensor? scale_b, str? granularity_a, str? granularity_b, Tensor? alpha, Tensor? "
    "beta, Tensor? c, Tensor? scale_result, str? subnormals, str? backend",
    slots=(0, 1, 4, 6, 7, 10, 11, 12, 13), typed=(0, 1, 12))

SCALED_GROUPED_MM = Schema(
    "scaled_grouped_mm",
    "Tensor input, Tensor weight, Tensor? scale, ScalarType? out_dtype, bool trans_b, str? backend",
    slots=(0, 1, 2), typed=(0, 1))
