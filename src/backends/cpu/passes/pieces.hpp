// SPDX-License-Identifier: Apache-2.0
// Rows as float32, in pieces that stay in a first-level cache.
#pragma once

#include <array>
#include <cstdint>

#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/data/matrix.hpp"

namespace octavo::cpu {

inline constexpr std::int64_t kPieceColumns = 2048;
using Piece = std::array<float, static_cast<std::size_t>(kPieceColumns)>;

inline bool whole_floats(const MatrixView& v, const void* address) noexcept {
  return v.dtype == DType::float32 && v.strides[1] == 1 &&
         reinterpret_cast<std::uintptr_t>(address) % alignof(float) == 0;
}

// A row's elements as float32: where they lie, or widened into `piece`.
inline const float* floats_of(const MatrixView& x, std::int64_t row, std::int64_t column,
                              std::int64_t count, Piece& piece) noexcept {
  const void* first = x.at(row * x.strides[0] + column * x.strides[1]);
  if (whole_floats(x, first)) return static_cast<const float*>(first);
  widen(best_kernels(), x.dtype, first, x.strides[1], count, piece.data());
  return piece.data();
}

}  // namespace octavo::cpu
