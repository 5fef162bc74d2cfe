// SPDX-License-Identifier: Apache-2.0
// Lists of products that lie as groups of rows do, as the experts of a mixture:
//
//     A, C, out     rows   | product 0 | product 1 | product 2 |      one behind the other
//     B             rows   [ e0 ][    ][ e2 ][ e3 ][    ][    ]       of one stack, ascending
//     scales, bias         of B's place in the stack, or one for all
//
// become one product of which ends cut the rows; what the list leaves out of the stack are groups
// without a row.
#pragma once

#include <array>
#include <cstdint>

#include "backends/cuda/kernels/passes/cut_rows.hpp"
#include "octavo/problem.hpp"

namespace octavo::cuda {

class JoinedList {
 public:
  /// Whether the list's products are alike in all but rows and addresses, and may so lie together.
  static bool may_join(const MatmulProblem& list) noexcept;
  /// Then: the one product as far as no address says what it is, with a group for each of them.
  static MatmulProblem outline(const MatmulProblem& list) noexcept;

  /// Whether products that may lie together do; then `problem()` is the one product.
  bool join(const MatmulProblem& list) noexcept;
  const MatmulProblem& problem() const noexcept { return joined_; }

 private:
  MatmulProblem joined_;
  std::array<std::int32_t, CutRowsKernel::kMostGiven> ends_{};
};

}  // namespace octavo::cuda
