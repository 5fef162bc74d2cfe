// SPDX-License-Identifier: Apache-2.0
#include "core/scales/scale_values.hpp"

#include "core/data/element.hpp"
#include "core/problem/operand.hpp"

namespace octavo {

float scale_at(const ScaleView& scale, std::int64_t i, std::int64_t j) noexcept {
  if (scale.kind != ScaleView::Kind::tensor) return scale.number;
  return load_float(scale.data, (scale.row0 + i) / scale.rows, (scale.col0 + j) / scale.cols);
}

std::int64_t weight_azp_at(const OperandView& b, std::int64_t k, std::int64_t n) noexcept {
  if (!b.azp.defined()) return 0;
  if (!azp_by_cells(b)) return load_int(b.azp, 0, n);
  const ScaleView& scale = b.scale[0];
  return load_int(b.azp, (scale.row0 + k) / scale.rows, (scale.col0 + n) / scale.cols);
}

float factor_at(const Factor& factor, std::int64_t n) noexcept {
  if (factor.kind != Factor::Kind::tensor) return factor.number;
  return load_float(factor.data, 0, n);
}

}  // namespace octavo
