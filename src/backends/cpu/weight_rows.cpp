// SPDX-License-Identifier: Apache-2.0
// Rows and columns of operands to panels of floats.
#include "backends/cpu/weight_rows.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/data/element.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/scale_values.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

void scatter(const float* row, std::int64_t panels, std::int64_t depth, std::int64_t k,
             float* out) noexcept {
  for (std::int64_t p = 0; p < panels; ++p) {
    std::memcpy(out + (p * depth + k) * kPanelCols, row + p * kPanelCols,
                kPanelCols * sizeof(float));
  }
}

}  // namespace

void load_row_panel(const Kernels& kernel, const MatrixView& a, std::int64_t row, float* panel,
                    float* scratch) noexcept {
  const std::int64_t rows = kernel.rows;
  const std::int64_t depth = a.shape[1];
  for (std::int64_t i = 0; i < rows; ++i) {
    if (row + i >= a.shape[0]) {
      for (std::int64_t k = 0; k < depth; ++k) panel[k * rows + i] = 0.0F;
      continue;
    }
    widen(kernel, a.dtype, a.at((row + i) * a.strides[0]), a.strides[1], depth, scratch);
    for (std::int64_t k = 0; k < depth; ++k) panel[k * rows + i] = scratch[k];
  }
}

void load_column_panels(const Kernels& kernel, const OperandView& b, std::int64_t k0,
                        std::int64_t k1, std::int64_t n0, std::int64_t panels, float* out,
                        float* scratch) noexcept {
  const std::int64_t depth = k1 - k0;
  if (b.packed != nullptr) {
    const PackedWeightData& w = *b.packed->content();
    for (std::int64_t p = 0; p < panels; ++p) {
      w.layout->widen(w, k0, k1, n0 + p * kPanelCols, out + p * depth * kPanelCols);
    }
    return;
  }
  const MatrixView& v = b.data;
  const std::int64_t count = std::min(panels * kPanelCols, v.shape[1] - n0);
  if (std::abs(v.strides[1]) <= std::abs(v.strides[0])) {  // rows of B lie together
    std::fill(scratch, scratch + panels * kPanelCols, 0.0F);
    for (std::int64_t k = 0; k < depth; ++k) {
      widen(kernel, v.dtype, v.at((k0 + k) * v.strides[0] + n0 * v.strides[1]), v.strides[1], count,
            scratch);
      scatter(scratch, panels, depth, k, out);
    }
    return;
  }
  for (std::int64_t j = 0; j < panels * kPanelCols; ++j) {
    float* column = out + j / kPanelCols * depth * kPanelCols + j % kPanelCols;
    if (j < count) {
      widen(kernel, v.dtype, v.at(k0 * v.strides[0] + (n0 + j) * v.strides[1]), v.strides[0], depth,
            scratch);
    } else {
      std::fill(scratch, scratch + depth, 0.0F);
    }
    for (std::int64_t k = 0; k < depth; ++k) column[k * kPanelCols] = scratch[k];
  }
}

void subtract_weight_azp(const OperandView& b, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                         std::int64_t panels, float* out) noexcept {
  if (!b.azp.defined()) return;
  const std::int64_t depth = k1 - k0;
  const std::int64_t count = std::min(panels * kPanelCols, weight_columns(b) - n0);
  for (std::int64_t j = 0; j < count; ++j) {
    float* column = out + j / kPanelCols * depth * kPanelCols + j % kPanelCols;
    for (std::int64_t k = 0; k < depth; ++k) {
      column[k * kPanelCols] -= static_cast<float>(weight_azp_at(b, k0 + k, n0 + j));
    }
  }
}

void load_weight_row(const OperandView& b, std::int64_t k, std::int64_t n0, std::int64_t count,
                     float* out) noexcept {
  if (b.packed == nullptr) {
    const MatrixView& v = b.data;
    return widen(best_kernels(), v.dtype, v.at(k * v.strides[0] + n0 * v.strides[1]), v.strides[1],
                 count, out);
  }
  const PackedWeightData& w = *b.packed->content();
  std::array<float, static_cast<std::size_t>(kPanelCols)> panel;
  for (std::int64_t j = 0; j < count; j += kPanelCols) {
    w.layout->widen(w, k, k + 1, n0 + j, panel.data());
    std::copy_n(panel.data(), std::min(kPanelCols, count - j), out + j);
  }
}

}  // namespace octavo::cpu
