// SPDX-License-Identifier: Apache-2.0
// The exact oracle: float64 on the dequantised operands, and the bound of specification section 9.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/problem.hpp"

namespace octavo::kit {

/// How far a result is from the exact one.
struct Verdict {
  double max_ratio = 0;  ///< largest error / bound over all elements that the bound covers
  double max_error = 0;  ///< largest absolute error among them
  std::int64_t checked = 0, skipped = 0;  ///< skipped: not finite, saturated, or an operand is so
  std::string worst;  ///< "group 0, row 3, column 5: got 1.25, exact 1.2500001, bound 1e-6"
};

/// Compares every output of a problem with the exact oracle. At most `limit` rows of each member
/// are checked (spread evenly), all of them for 0.
Verdict compare_exact(const MatmulProblem& problem, std::int64_t limit = 0);

}  // namespace octavo::kit
