// SPDX-License-Identifier: Apache-2.0
// From an exact sum of products of codes to that of codes less zero points:
//
//   sum (A - azp_a)(B - azp_b) = sum A B - azp_a * (sum B - K * azp_b) - azp_b * sum A
//
// Sums of codes are int32, all else has 64 bits. Zero points that are not there are 0, and so are
// sums that nobody multiplies by.
#pragma once

#include "backends/cuda/kernels/elements.hpp"

namespace octavo::cuda {

/// Sums of codes over K; null: not needed.
struct CodeSums {
  const std::int32_t* of_rows = nullptr;     ///< of A, [M]
  const std::int32_t* of_columns = nullptr;  ///< of B, [N]
};

class ZeroPointTerms {
 public:
  /// What one row of A, or one column of B, has: its zero point, and the sum that the other's is
  /// multiplied by.
  struct Line {
    std::int64_t azp = 0, sum = 0;
  };

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
