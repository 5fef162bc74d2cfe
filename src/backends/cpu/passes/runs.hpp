// SPDX-License-Identifier: Apache-2.0
// Rows of a matrix as the quantisers' kernels take them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "backends/cpu/row_kernels.hpp"
#include "core/data/convert.hpp"
#include "octavo/tensor.hpp"

namespace octavo::cpu {

/// Elements that are gathered at a time where they are no neighbours.
inline constexpr std::int64_t kGathered = 512;

/// Calls visit(type, source, column, count) for the neighbours that make up columns [c0, c1) of
/// row r: the row as it lies, or pieces of it gathered as float32.
template <class Visit>
void for_each_run(const MatrixView& x, std::int64_t r, std::int64_t c0, std::int64_t c1,
                  const Visit& visit) noexcept {
  if (c0 >= c1) return;
  const auto at = [&](std::int64_t c) { return x.at(r * x.strides[0] + c * x.strides[1]); };
  if (x.strides[1] == 1) return visit(x.dtype, at(c0), c0, c1 - c0);
  std::array<float, kGathered> piece;
  for (std::int64_t c = c0; c < c1; c += kGathered) {
    const std::int64_t count = std::min(kGathered, c1 - c);
    load_row(x.dtype, at(c), x.strides[1], count, piece.data());
    visit(DType::float32, static_cast<const void*>(piece.data()), c, count);
  }
}

/// Writes the codes of a run that begins at column c of row r. Codes that are no neighbours take
/// one factor, or one for each element.
inline void quantize_run(RowCodes run, const MatrixView& codes, std::int64_t r,
                         std::int64_t c) noexcept {
  auto* target = static_cast<std::uint8_t*>(codes.at(r * codes.strides[0] + c * codes.strides[1]));
  run.codes = target;
  if (codes.strides[1] == 1) return best_kernels().quantize(run);
  const std::int64_t bytes = element_bytes(run.from);
  std::array<std::uint8_t, kGathered> piece;
  const std::int64_t all = run.count;
  run.codes = piece.data();
  run.streamed = false;
  for (std::int64_t begin = 0; begin < all; begin += kGathered) {
    run.count = std::min(kGathered, all - begin);
    best_kernels().quantize(run);
    for (std::int64_t i = 0; i < run.count; ++i) {
      target[(begin + i) * codes.strides[1]] = piece[static_cast<std::size_t>(i)];
    }
    run.source = static_cast<const char*>(run.source) + run.count * bytes;
    if (run.factors != nullptr) run.factors += run.count;
    if (run.factors != nullptr && run.inverses != nullptr) {
      run.inverses += run.count;
      run.inverse_rests += run.count;
    }
    if (run.azps != nullptr) run.azps += run.count;
  }
}

}  // namespace octavo::cpu
