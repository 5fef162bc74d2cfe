// SPDX-License-Identifier: Apache-2.0
// Cutting zero points in two, and summing what does not depend on the column.
#include "ops/gradients/vjp_zero_points.hpp"

#include <algorithm>
#include <cstdlib>

#include "core/error.hpp"
#include "core/scales/quantize_rules.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/values.hpp"

namespace octavo {

Result<bool> near_zero_points(const VjpCall& call, const OperandView& x) {
  if (!x.azp.defined() || x.azp.shape[0] == 0) return true;
  const std::int64_t low = lowest_code(x.data.dtype);
  const bool one = x.azp.strides[0] == 0;
  OCTAVO_TRY_ASSIGN(
      const std::vector<std::int64_t> points,
      integers_of(call.operation, static_cast<TensorView>(one ? x.azp.slice(0, 0, 1) : x.azp),
                  call.place.stream));
  return std::ranges::all_of(points, [low](std::int64_t azp) {
    return std::max(std::abs(low - azp), std::abs(low + 255 - azp)) <= 256;
  });
}

Result<FarZeroPoints> split_zero_points(const VjpCall& call, const OperandView& x) {
  const std::int64_t count = x.data.shape[0];
  FarZeroPoints far;
  OCTAVO_TRY_ASSIGN(far.near, plane(call, DType::int32, count, 1));
  OCTAVO_TRY_ASSIGN(far.rest, plane(call, DType::float32, count, 1));
  OCTAVO_TRY(call.on->passes.split_zero_points(
      {x.azp, lowest_code(x.data.dtype), far.near, far.rest}, call.context));
  return far;
}

Status sum_rest(const VjpCall& call, const MatrixView& grad, const Tensor& rest,
                const MatrixView& pieces) {
  const std::int64_t rows = grad.shape[0];
  OCTAVO_TRY_ASSIGN(const Tensor sums, plane(call, DType::float64, rows, 1));
  OCTAVO_TRY(call.on->passes.fill({sums, 0.0F}, call.context));
  MatrixView factor = rest;
  factor.shape = {rows, grad.shape[1]};
  factor.strides = {0, 1};
  ScaleView cells;
  cells.kind = ScaleKind::tensor;
  cells.data = sums.view();
  cells.data.strides = {1, 0};
  cells.rows = 1;
  OCTAVO_TRY(
      sum_cells(call.operation, *call.on, {{grad, factor}, {}, {}, cells, {}}, call.context));
  return call.on->passes.split_sums({sums, pieces}, call.context);
}

}  // namespace octavo
