// SPDX-License-Identifier: Apache-2.0
// From an exact sum of products of codes to that of codes less zero points:
//
//   sum (A - azp_a)(B - azp_b) = sum A B - azp_a * (sum B - K * azp_b) - azp_b * sum A
//
// Sums of codes are int32, all else has 64 bits. Zero points that are not there are 0, and so are
// sums that nobody multiplies by.
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"

namespace octavo::cuda {

/// Sums of codes over K; null: not needed.
struct CodeSums {
  const std::int32_t* of_rows = nullptr;     ///< of A, [M]
  const std::int32_t* of_columns = nullptr;  ///< of B, [N]
};

/// What one row of A, or one column of B, has: its zero point, and the sum that the other's is
/// multiplied by.
struct ZeroPointLine {
  std::int64_t azp = 0, sum = 0;
};

/// One zero point, or one for each row or column, of an integer type; none: 0.
struct ZeroPointVector {
  const void* values = nullptr;
  std::int64_t step = 0;
  DType dtype = DType::int32;

  template <class Machine>
  OCTAVO_DEVICE std::int32_t at(Machine& m, int index) const {
    if (values == nullptr) return 0;
    const std::int64_t offset = index * step;
    if (dtype == DType::int32)
      return m.load_global(static_cast<const std::int32_t*>(values) + offset);
    if (dtype == DType::int8)
      return m.load_global(static_cast<const std::int8_t*>(values) + offset);
    return m.load_global(static_cast<const std::uint8_t*>(values) + offset);
  }
};

/// What an epilogue is told of them.
struct ZeroPoints {
  ZeroPointVector of_rows, of_columns;
  CodeSums sums;
  std::int32_t k = 0;
  bool any = false;

  template <class Machine>
  OCTAVO_DEVICE ZeroPointLine row(Machine& m, int i) const {
    return {of_rows.at(m, i), sums.of_rows != nullptr ? m.load_global(sums.of_rows + i) : 0};
  }
  template <class Machine>
  OCTAVO_DEVICE ZeroPointLine column(Machine& m, int j) const {
    const std::int64_t azp = of_columns.at(m, j);
    return {azp, sums.of_columns != nullptr ? m.load_global(sums.of_columns + j) - k * azp : 0};
  }
};

class ZeroPointTerms {
 public:
  using Line = ZeroPointLine;

  OCTAVO_DEVICE ZeroPointTerms(const Member& p, const CodeSums& sums)
      : a_(p.a.azp), b_(p.b.azp), sums_(sums), k_(p.a.data.shape[1]) {}

  template <class Machine>
  OCTAVO_DEVICE Line row(Machine& m, std::int64_t i) const {
    Line line;
    if (a_.dtype != DType::undefined) line.azp = read_int(m, a_, i, 0);
    if (sums_.of_rows != nullptr) line.sum = m.load_global(sums_.of_rows + i);
    return line;
  }
  template <class Machine>
  OCTAVO_DEVICE Line column(Machine& m, std::int64_t j) const {
    Line line;
    if (b_.dtype != DType::undefined) line.azp = read_int(m, b_, 0, j);
    if (sums_.of_columns != nullptr) line.sum = m.load_global(sums_.of_columns + j) - k_ * line.azp;
    return line;
  }
  OCTAVO_DEVICE static std::int64_t exact(std::int32_t products, const Line& row,
                                          const Line& column) {
    return products - row.azp * column.sum - column.azp * row.sum;
  }

 private:
  const MatrixView &a_, &b_;
  CodeSums sums_;
  std::int64_t k_;
};

}  // namespace octavo::cuda
