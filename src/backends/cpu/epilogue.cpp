// SPDX-License-Identifier: Apache-2.0
// Scales, outliers, alpha, C, bias and scale_result over rows of a tile.
#include "backends/cpu/epilogue.hpp"

#include <algorithm>
#include <limits>

#include "backends/cpu/pack.hpp"
#include "backends/cpu/rows.hpp"
#include "core/element.hpp"
#include "core/grid.hpp"

namespace octavo::cpu {
namespace {

using Row = std::array<float, kTileCols>;

bool constant_scale(const ScaleView& scale, Side side) noexcept {
  return scale.present() && !varies_along_k(scale, side);
}

void multiply(float* t, std::int64_t count, float factor) noexcept {
  for (std::int64_t j = 0; j < count; ++j) t[j] *= factor;
}
void multiply(float* t, std::int64_t count, const float* factors) noexcept {
  for (std::int64_t j = 0; j < count; ++j) t[j] *= factors[j];
}
void add(float* t, std::int64_t count, const float* terms) noexcept {
  for (std::int64_t j = 0; j < count; ++j) t[j] += terms[j];
}

void add_scaled_c(const Epilogue& e, std::int64_t m, std::int64_t n0, std::int64_t count,
                  float* t) noexcept {
  Row c;
  widen(best_kernels(), e.c.dtype, e.c.at(m * e.c.strides[0] + n0 * e.c.strides[1]), e.c.strides[1],
        count, c.data());
  const float beta = factor_at(e.beta, 0);
  for (std::int64_t j = 0; j < count; ++j) t[j] += beta * c[static_cast<std::size_t>(j)];
}

}  // namespace

void load_columns(const Member& p, std::int64_t n0, std::int64_t count,
                  EpilogueColumns& columns) noexcept {
  columns.n0 = n0;
  columns.count = count;
  for (std::size_t level = 0; level < 2; ++level) {
    const ScaleView& scale = p.b.scale[level];
    if (!constant_scale(scale, Side::b)) continue;
    for (std::int64_t j = 0; j < count; ++j) {
      columns.scale_b[level][static_cast<std::size_t>(j)] = scale_at(scale, 0, n0 + j);
    }
  }
  const Epilogue& e = p.epilogue;
  if (e.bias.defined()) {
    widen(best_kernels(), e.bias.dtype, e.bias.at(n0 * e.bias.strides[0]), e.bias.strides[0], count,
          columns.bias.data());
  }
  for (std::int64_t j = 0; j < count && e.scale_result.present(); ++j) {
    columns.scale_result[static_cast<std::size_t>(j)] = factor_at(e.scale_result, n0 + j);
  }
}

void outlier_tile(const Member& p, std::int64_t m0, std::int64_t rows, std::int64_t n0,
                  std::int64_t count, float* tile) noexcept {
  const Outliers& o = p.epilogue.outliers;
  const Operand original = o.weight.defined() ? Operand(o.weight) : p.b;
  std::fill(tile, tile + rows * kTileCols, 0.0F);
  Row weight;
  for (std::int64_t i = 0; i < o.columns.shape[0]; ++i) {
    const std::int64_t k = load_int(o.columns.dtype, o.columns.data, i * o.columns.strides[0]);
    load_weight_row(original, k, n0, count, weight.data());
    for (std::int64_t m = 0; m < rows; ++m) {
      const float a = load_float(o.a, m0 + m, k);
      float* sums = tile + m * kTileCols;
      for (std::int64_t j = 0; j < count; ++j) sums[j] += a * weight[static_cast<std::size_t>(j)];
    }
  }
}

void finish_row(const Member& p, const MatmulOptions& options, std::int64_t m,
                const EpilogueColumns& columns, const float* outliers, float* t) noexcept {
  const Epilogue& e = p.epilogue;
  const std::int64_t count = columns.count;
  for (const ScaleView& sa : p.a.scale) {
    if (constant_scale(sa, Side::a)) multiply(t, count, scale_at(sa, m, 0));
  }
  if (outliers != nullptr && !e.outliers.weight.defined()) add(t, count, outliers);
  for (std::size_t level = 0; level < 2; ++level) {
    if (constant_scale(p.b.scale[level], Side::b)) {
      multiply(t, count, columns.scale_b[level].data());
    }
  }
  if (outliers != nullptr && e.outliers.weight.defined()) add(t, count, outliers);
  if (e.alpha.present()) multiply(t, count, factor_at(e.alpha, 0));
  if (e.c.defined()) add_scaled_c(e, m, columns.n0, count, t);
  if (e.bias.defined()) add(t, count, columns.bias.data());
  if (e.scale_result.present()) multiply(t, count, columns.scale_result.data());
  if (options.torch_compat && p.a.data.shape[1] == 0) std::fill(t, t + count, 0.0F);
  const TensorView& out = p.out;
  narrow(best_kernels(), out.dtype, t, count,
         out.at(m * out.strides[0] + columns.n0 * out.strides[1]), out.strides[1],
         options.overflow);
}

void finish_exact_row(const Member& p, std::int64_t m, std::int64_t n0, std::int64_t count,
                      const std::int64_t* sums) noexcept {
  const TensorView& out = p.out;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto saturated = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(sums[j], std::numeric_limits<std::int32_t>::min(),
                                 std::numeric_limits<std::int32_t>::max()));
    store_int32(out.data, m * out.strides[0] + (n0 + j) * out.strides[1], saturated);
  }
}

}  // namespace octavo::cpu
