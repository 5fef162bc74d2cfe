// SPDX-License-Identifier: Apache-2.0
// Weights packed for CUDA's kernels: rows of K, one for each column, that begin at multiples of 16
// bytes. What TMA reads as it is. Behind the rows of integers lie the sums of the columns, for zero
// points of A.
#pragma once

#include "backends/arena.hpp"
#include "backends/backend.hpp"

namespace octavo::cuda {

/// Of addresses and pitches that TMA takes.
constexpr std::int64_t kMapAlignment = 16;

extern const WeightLayout kRowsLayout;

/// A packed weight as it lies: [N, K].
MatrixView packed_rows(const PackedWeightData& packed) noexcept;

/// Sums of a packed weight's columns, int32 [N], modulo 2^32; null for types that are no integers.
const std::int32_t* packed_sums(const PackedWeightData& packed) noexcept;

/// Elements from one row to the next.
std::int64_t row_pitch(DType dtype, std::int64_t columns) noexcept;

}  // namespace octavo::cuda
