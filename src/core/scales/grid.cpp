// SPDX-License-Identifier: Apache-2.0
#include "core/scales/grid.hpp"

#include <algorithm>
#include <numeric>

#include "core/problem/operand.hpp"

namespace octavo {

std::int64_t next_boundary(const Member& m, std::int64_t k, std::int64_t inner) noexcept {
  std::int64_t next = inner;
  const auto consider = [&](std::int64_t cell, std::int64_t origin) {
    if (cell == kWholeExtent) return;
    next = std::min(next, (origin + k) / cell * cell + cell - origin);
  };
  for (const ScaleView& scale : m.a.scale) {
    if (varies_along_k(scale, Side::a)) consider(scale.cols, scale.col0);
  }
  for (const ScaleView& scale : m.b.scale) {
    if (varies_along_k(scale, Side::b)) consider(scale.rows, scale.row0);
  }
  return next;
}

std::int64_t group_length(const ActivationQuant& rule) noexcept {
  if (rule.vectorwise) return 1;
  const std::int64_t cols = scale_grid(rule.spec.granularity, Side::a).cols;
  return cols == kWholeExtent ? 1 : cols;
}

std::int64_t common_cell(std::int64_t a, std::int64_t b, std::int64_t extent) noexcept {
  const std::int64_t times = b / std::gcd(a, b);
  const bool spans = a >= extent || b >= extent || a > extent / times;
  return spans ? std::max<std::int64_t>(extent, 1) : a * times;
}

KChunks k_chunks(const Member& m, const MatmulOptions& options) noexcept {
  KChunks chunks{m.a.data.shape[1], std::max<std::int64_t>(options.k_chunks, 1), 1};
  const auto consider = [&](std::int64_t cell) {
    chunks.cell = common_cell(chunks.cell, cell, chunks.inner);
  };
  for (const ScaleView& scale : m.a.scale) {
    if (varies_along_k(scale, Side::a)) consider(scale.cols);
  }
  if (m.a.quantize != nullptr) consider(group_length(*m.a.quantize));
  for (const ScaleView& scale : m.b.scale) {
    if (varies_along_k(scale, Side::b)) consider(scale.rows);
  }
  return chunks;
}

KChunks sum_chunks(const Member& m, const MatmulOptions& options) noexcept {
  const bool varies = varies_along_k(m.a, Side::a) || varies_along_k(m.b, Side::b) ||
                      (m.a.quantize != nullptr && group_length(*m.a.quantize) != 1);
  const bool integers = is_integer8(product_dtype(m.a)) && is_integer8(weight_dtype(m.b));
  if (integers && !varies) return {m.a.data.shape[1], 1, 1};
  return k_chunks(m, options);
}

}  // namespace octavo
