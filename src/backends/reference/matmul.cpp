// SPDX-License-Identifier: Apache-2.0
// scaled_mm as the specification's section 3 writes it.
//
//   t = float(acc); t *= sa; t += outlier (codes); t *= sb; t += outlier (original weights);
//   t *= alpha; t += beta * C; t += bias; t *= scale_result; out = cast(t)
//
// Scales that vary along K: t = t + (part * sa) * sb over their common refinement, from t = +0.
// With k_chunks (section 11), over each chunk of K apart, and the chunks are added in order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo::reference {
namespace {

bool integer_product(const Member& p) noexcept {
  return is_integer8(p.a.data.dtype) && is_integer8(p.b.data.dtype);
}

// sum over [k0, k1) of (A - azp) * (B - azp), exactly.
std::int64_t exact_sum(const Member& p, std::int64_t m, std::int64_t n, std::int64_t k0,
                       std::int64_t k1) noexcept {
  const std::int64_t azp = p.a.azp.defined() ? load_int(p.a.azp, m, 0) : 0;
  std::int64_t acc = 0;
  for (std::int64_t k = k0; k < k1; ++k) {
    acc += (load_int(p.a.data, m, k) - azp) * (load_int(p.b.data, k, n) - weight_azp_at(p.b, k, n));
  }
  return acc;
}

// The same in float32, in ascending k; an integer sum is rounded once.
float part(const Member& p, std::int64_t m, std::int64_t n, std::int64_t k0,
           std::int64_t k1) noexcept {
  if (integer_product(p)) return static_cast<float>(exact_sum(p, m, n, k0, k1));
  float acc = 0.0F;
  for (std::int64_t k = k0; k < k1; ++k) {
    const auto azp = static_cast<float>(weight_azp_at(p.b, k, n));
    acc += load_float(p.a.data, m, k) * (load_float(p.b.data, k, n) - azp);
  }
  return acc;
}

float scaled_parts(const Member& p, std::int64_t m, std::int64_t n,
                   const ShardRange& range) noexcept {
  if (!varies_along_k(p.a, Side::a) && !varies_along_k(p.b, Side::b)) {
    return part(p, m, n, range.begin, range.end);
  }
  float t = 0.0F;
  for (std::int64_t k = range.begin, end = 0; k < range.end; k = end) {
    end = next_boundary(p, k, range.end);
    float term = part(p, m, n, k, end);
    for (const ScaleView& sa : p.a.scale) {
      if (varies_along_k(sa, Side::a)) term *= scale_at(sa, m, k);
    }
    for (const ScaleView& sb : p.b.scale) {
      if (varies_along_k(sb, Side::b)) term *= scale_at(sb, k, n);
    }
    t += term;
  }
  return t;
}

// From +0, the sums over chunks of K in their order.
template <class Sum>
float in_chunks(const KChunks& chunks, const Sum& sum) noexcept {
  if (!chunks.several()) return sum(chunks[0]);
  float t = 0.0F;
  for (std::int64_t c = 0; c < chunks.count; ++c) t += sum(chunks[c]);
  return t;
}

bool holds(const ColumnList& columns, std::int64_t k) noexcept {
  for (std::int64_t i = 0; i < columns.count; ++i) {
    if (columns[i] == k) return true;
  }
  return false;
}

float outlier_part(const Outliers& o, const Elements& weight, std::int64_t m, std::int64_t n,
                   const ShardRange& range) noexcept {
  float sum = 0.0F;
  for (std::int64_t i = 0; i < o.columns.count; ++i) {
    const std::int64_t k = o.columns[i];
    if (k < range.begin || k >= range.end) continue;
    const float a = load_float(o.a, m, k);
    const bool in_codes = o.threshold > 0.0F && !(std::abs(a) >= o.threshold);
    if (in_codes && !holds(o.whole, k)) continue;
    sum += a * load_float(weight, k, n);
  }
  return sum;
}

// What the sum itself meets; an empty one meets nothing.
float scaled_sum(const Member& p, const MatmulOptions& options, float t, std::int64_t m,
                 std::int64_t n) noexcept {
  const Epilogue& e = p.epilogue;
  const auto outlier_sum = [&](const Elements& weight) {
    return in_chunks(k_chunks(p, options), [&](const ShardRange& range) {
      return outlier_part(e.outliers, weight, m, n, range);
    });
  };
  for (const ScaleView& sa : p.a.scale) {
    if (sa.present() && !varies_along_k(sa, Side::a)) t *= scale_at(sa, m, 0);
  }
  if (e.outliers.present() && !e.outliers.weight.defined()) {
    t += outlier_sum(p.b.data);
  }
  for (const ScaleView& sb : p.b.scale) {
    if (sb.present() && !varies_along_k(sb, Side::b)) t *= scale_at(sb, 0, n);
  }
  if (e.outliers.present() && e.outliers.weight.defined()) {
    t += outlier_sum(e.outliers.weight);
  }
  if (e.alpha.present()) t *= factor_at(e.alpha, 0);
  return t;
}

float epilogue(const Member& p, float t, std::int64_t m, std::int64_t n) noexcept {
  const Epilogue& e = p.epilogue;
  if (e.c.defined()) t += factor_at(e.beta, 0) * load_float(e.c, m, n);
  if (e.bias.defined()) t += load_float(e.bias, m, n);
  if (e.scale_result.present()) t *= factor_at(e.scale_result, n);
  return t;
}

}  // namespace

Status finish(const FinishProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& sums = p.sums;
  const MatrixView& out = p.product.out;
  const bool empty = p.product.a.data.shape[1] == 0;
  for (std::int64_t m = 0; m < out.shape[0]; ++m) {
    for (std::int64_t n = 0; n < out.shape[1]; ++n) {
      const std::int64_t place = m * out.strides[0] + n * out.strides[1];
      if (out.dtype == DType::int32) {
        store_int32(out.data, place, static_cast<std::int32_t>(load_int(sums, m, n)));
        continue;
      }
      const float sum = load_float(sums, m, n);
      const float t = empty ? sum : scaled_sum(p.product, p.options, sum, m, n);
      const float y = empty && p.options.torch_compat ? 0.0F : epilogue(p.product, t, m, n);
      store_float(out.dtype, out.data, place, y, p.options.overflow);
    }
  }
  return {};
}

void matmul(const Member& p, const MatmulOptions& options) noexcept {
  const std::int64_t inner = p.a.data.shape[1];
  const std::int64_t rows = p.out.shape[0];
  const std::int64_t cols = p.out.shape[1];
  const KChunks chunks = sum_chunks(p, options);
  for (std::int64_t m = 0; m < rows; ++m) {
    for (std::int64_t n = 0; n < cols; ++n) {
      const std::int64_t place = m * p.out.strides[0] + n * p.out.strides[1];
      if (p.out.dtype == DType::int32) {  // the exact sum, never through float
        const auto acc = static_cast<std::int32_t>(std::clamp<std::int64_t>(
            exact_sum(p, m, n, 0, inner), std::numeric_limits<std::int32_t>::min(),
            std::numeric_limits<std::int32_t>::max()));
        store_int32(p.out.data, place, acc);
        continue;
      }
      const auto sum = [&](const ShardRange& range) { return scaled_parts(p, m, n, range); };
      const float acc = inner == 0 ? 0.0F : scaled_sum(p, options, in_chunks(chunks, sum), m, n);
      float y = epilogue(p, acc, m, n);
      if (options.torch_compat && inner == 0) y = 0.0F;
      store_float(p.out.dtype, p.out.data, place, y, options.overflow);
    }
  }
}

}  // namespace octavo::reference
