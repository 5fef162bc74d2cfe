// SPDX-License-Identifier: Apache-2.0
// Sums of products over the cells of a scale grid: what the gradients of scales, bias and factors
// are.
#pragma once

#include <array>

#include "octavo/context.hpp"
#include "octavo/scale.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// sums(i, j) += (factors[0][i, j] - azp[i]) * factors[1][i, j] * factors[2][i, j] * weight(i, j)
///
/// Products and sums are float64. Strips of rows of a fixed height are summed by themselves and
/// then added in ascending order, so that no bit depends on threads.
struct ReduceProblem {
  const char* operation = "reduce";
  std::array<TensorView, 3> factors;  ///< [R, C], any strides, 0 repeats; the first is defined
  TensorView azp;                     ///< [R, 1] of integers; undefined: none
  ScaleView weight;                   ///< one more factor
  ScaleView sums;                     ///< float64: the cell that element (i, j) is added to
};
Status reduce(const ReduceProblem& problem, const ExecContext& context);

}  // namespace octavo
