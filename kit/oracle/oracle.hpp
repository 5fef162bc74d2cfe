// SPDX-License-Identifier: Apache-2.0
// The exact oracle: float64 on the dequantised operands, and the bound of specification section 9.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octavo/llm_int8.hpp"
#include "octavo/problem.hpp"
#include "octavo/quantize.hpp"

namespace octavo::kit {

/// How far a result is from the exact one.
struct Verdict {
  double max_ratio = 0;  ///< largest error / bound over all elements that the bound covers
  double max_error = 0;  ///< largest absolute error among them
  std::int64_t checked = 0, skipped = 0;  ///< skipped: not finite, saturated, or an operand is so
  std::string worst;  ///< "group 0, row 3, column 5: got 1.25, exact 1.2500001, bound 1e-6"
};

/// Compares every output of a problem with the exact oracle. At most so many rows and columns of
/// each member are checked (spread evenly, the last among them), all of them for 0.
Verdict compare_exact(const MatmulProblem& problem, std::int64_t rows = 0,
                      std::int64_t columns = 0);

/// A member with A quantised (LLM.int8: by columns with outliers, or by outlier elements) and B
/// unpacked, and the tensors that this made.
struct PlainMember {
  Member member;
  Quantized codes, weight;
  VectorwiseQuant vectorwise;
  Tensor rotated;
};
PlainMember plain_member(Member member, bool by_element = false);

/// What a float32 product of the same member multiplies: the dequantised operands, A [M, K] and
/// B [N, K], scales multiplied in and rounded once.
struct FloatOperands {
  std::vector<float> a, b;
};
FloatOperands float_operands(const Member& member);

}  // namespace octavo::kit
