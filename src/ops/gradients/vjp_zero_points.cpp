// SPDX-License-Identifier: Apache-2.0
// Cutting zero points in two, and summing what does not depend on the column.
#include "ops/gradients/vjp_zero_points.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/element.hpp"
#include "core/error.hpp"
#include "ops/gradients/reduce.hpp"

namespace octavo {
bool near_zero_points(const Operand& x) noexcept {
  const std::int64_t low = lowest_code(x.data.dtype);
  for (std::int64_t i = 0; x.azp.defined() && i < x.azp.shape[0]; ++i) {
    const std::int64_t azp = load_int(x.azp, i, 0);
    if (std::max(std::abs(low - azp), std::abs(low + 255 - azp)) > 256) return false;
    if (x.azp.strides[0] == 0) return true;
  }
  return true;
}

Result<FarZeroPoints> split_zero_points(const char* operation, const Operand& x) {
  const std::int64_t count = x.data.shape[0];
  const std::int64_t low = lowest_code(x.data.dtype);
  FarZeroPoints far;
  OCTAVO_TRY_ASSIGN(far.near, plane(operation, DType::int32, count, 1));
  OCTAVO_TRY_ASSIGN(far.rest, plane(operation, DType::float32, count, 1));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t azp = load_int(x.azp, i, 0);
    const std::int64_t near = std::clamp(azp, low, low + 255);
    far.near.data_as<std::int32_t>()[i] = static_cast<std::int32_t>(near);
    far.rest.data_as<float>()[i] = static_cast<float>(near - azp);
  }
  return far;
}

Status sum_rest(const VjpCall& call, const TensorView& grad, const Tensor& rest,
                const TensorView& pieces) {
  const std::int64_t rows = grad.shape[0];
  OCTAVO_TRY_ASSIGN(const Tensor sums, plane(call.operation, DType::float64, rows, 1));
  std::memset(sums.data(), 0, static_cast<std::size_t>(rows) * sizeof(double));
  TensorView factor = rest.view();
  factor.shape = {rows, grad.shape[1]};
  factor.strides = {0, 1};
  ScaleView cells;
  cells.kind = ScaleView::Kind::tensor;
  cells.data = sums.view();
  cells.data.strides = {1, 0};
  cells.rows = 1;
  OCTAVO_TRY(
      sum_cells(call.operation, *call.on, {{grad, factor}, {}, {}, cells, {}}, call.context));
  for (std::int64_t i = 0; i < rows; ++i) {
    double left = sums.data_as<double>()[i];
    for (std::int64_t j = 0; j < kRestPieces; ++j) {
      const std::int64_t place = i * pieces.strides[0] + j * pieces.strides[1];
      store_float(pieces.dtype, pieces.data, place, static_cast<float>(left), Overflow::ieee);
      const double stored = static_cast<double>(load_float(pieces.dtype, pieces.data, place));
      left = std::isfinite(stored) ? left - stored : 0.0;  // what is not, shows in the first
    }
  }
  return {};
}

void fill_ones(const TensorView& rows) noexcept {
  for (std::int64_t i = 0; i < rows.shape[0]; ++i) {
    for (std::int64_t j = 0; j < rows.shape[1]; ++j) {
      store_float(rows.dtype, rows.data, i * rows.strides[0] + j * rows.strides[1], 1.0F,
                  Overflow::saturate);
    }
  }
}

}  // namespace octavo
