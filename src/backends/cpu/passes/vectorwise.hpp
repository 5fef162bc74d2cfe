// SPDX-License-Identifier: Apache-2.0
// What LLM.int8's quantiser does to rows that lie together and to columns that do.
#pragma once

#include <cstdint>
#include <span>

#include "backends/backend.hpp"
#include "backends/cpu/kernels/row_contract.hpp"

namespace octavo::cpu {

/// A call, for whoever walks over the matrix.
struct VectorwiseCall {
  const VectorwiseProblem& q;
  const ExecContext& context;
  std::uint32_t limit;  ///< numbers of this magnitude (as bits) and more are outliers

  bool is_zero_row(std::int64_t r) const noexcept {
    return q.zero_rows != nullptr && q.zero_rows[r] != 0;
  }
  /// The statistic of a row that reaches `most`: NaN where that is no number. Returns it.
  float store_absmax(std::int64_t r, float most) const noexcept;
};

/// One reading of the matrix: the statistics and codes of all rows, beside some columns, whose
/// codes are 0.
struct VectorwisePass {
  std::span<const std::int64_t> left_out;  ///< ascending
  bool finds = false;                      ///< flags of columns that hold outliers as well
  bool rows = true;                        ///< statistics and codes; false: flags only
};

/// Calls visit(begin, end) for the stretches of [0, count) between the columns left out.
template <class Visit>
void for_each_kept(std::span<const std::int64_t> left_out, std::int64_t count,
                   const Visit& visit) noexcept {
  std::int64_t begin = 0;
  for (const std::int64_t column : left_out) {
    if (begin < column) visit(begin, column);
    begin = column + 1;
  }
  if (begin < count) visit(begin, count);
}

/// Whether the columns of x lie together and `walk_columns` writes its codes.
bool walks_columns(const VectorwiseProblem& q) noexcept;
void walk_columns(const VectorwiseCall& call, const VectorwisePass& pass) noexcept;

}  // namespace octavo::cpu
