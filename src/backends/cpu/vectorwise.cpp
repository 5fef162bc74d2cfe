// SPDX-License-Identifier: Apache-2.0
// Section 8: a row's statistic, its codes, and the columns that hold outliers.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "backends/cpu/quantize.hpp"
#include "backends/cpu/runs.hpp"
#include "core/element.hpp"
#include "core/parallel.hpp"
#include "core/quantize_rules.hpp"

namespace octavo::cpu {
namespace {

// Elements of magnitude `limit` (as bits) and more are outliers.
struct Rows {
  const VectorwiseProblem& q;
  std::uint32_t limit;
  std::int64_t outlier_columns = 0;

  static std::uint32_t limit_of(float threshold) noexcept {
    return threshold > 0.0F ? std::bit_cast<std::uint32_t>(threshold) : kAllButNaN;
  }

  template <class Visit>
  void for_each_run_of(std::int64_t r, const Visit& visit) const noexcept {
    for_each_run(q.x, r, 0, q.x.shape[1], visit);
  }

  void flag_columns(std::int64_t r) const noexcept {
    for_each_run_of(r, [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
      const float most = best_kernels().absmax(from, row, count, kAllButNaN);
      if (std::bit_cast<std::uint32_t>(most) < limit) return;
      for (std::int64_t i = 0; i < count; ++i) {
        if (!(std::abs(load_float(from, row, i)) >= q.threshold)) continue;
        std::atomic_ref<std::uint8_t>(q.column_flags[c + i]).store(1, std::memory_order_relaxed);
      }
    });
  }

  float absmax(std::int64_t r) const noexcept {
    const std::uint32_t below = std::min(limit, kFiniteOnly);
    float most = 0.0F;
    for_each_run_of(r, [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
      if (q.whole_columns && outlier_columns > 0) {
        most = std::max(most, absmax_beside_columns(from, row, c, count, below));
      } else {
        most = std::max(most, best_kernels().absmax(from, row, count, below));
      }
    });
    return most;
  }

  void write_codes(std::int64_t r, float factor) const noexcept {
    for_each_run_of(r, [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
      quantize_run({.from = from,
                    .source = row,
                    .count = count,
                    .factor = factor,
                    .vectorwise = true,
                    .limit = limit},
                   q.codes, r, c);
    });
    auto* codes = static_cast<std::int8_t*>(q.codes.data) + r * q.codes.strides[0];
    for (std::int64_t i = 0; i < outlier_columns; ++i) codes[q.columns[i] * q.codes.strides[1]] = 0;
  }

 private:
  float absmax_beside_columns(DType from, const void* row, std::int64_t c, std::int64_t count,
                              std::uint32_t below) const noexcept {
    std::uint32_t most = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto magnitude = std::bit_cast<std::uint32_t>(load_float(from, row, i)) & 0x7FFFFFFFU;
      if (magnitude < below && q.column_flags[c + i] == 0) most = std::max(most, magnitude);
    }
    return std::bit_cast<float>(most);
  }
};

}  // namespace

Status vectorwise(const VectorwiseProblem& q, const ExecContext& context) noexcept {
  const std::int64_t rows = q.x.shape[0];
  const std::int64_t cols = q.x.shape[1];
  const std::int64_t bands = bands_of(context, rows, rows * cols);
  Rows all{q, Rows::limit_of(q.threshold)};
  const auto for_each_row = [&](const auto& body) {
    for_each_band(context, bands, rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
      for (std::int64_t r = begin; r < end; ++r) body(r);
    });
  };
  if (q.column_flags != nullptr) {
    std::memset(q.column_flags, 0, static_cast<std::size_t>(cols));
    for_each_row([&](std::int64_t r) { all.flag_columns(r); });
    *q.column_count = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      if (q.column_flags[c] != 0) q.columns[(*q.column_count)++] = c;
    }
    all.outlier_columns = *q.column_count;
  }
  for_each_row([&](std::int64_t r) {
    const float absmax = all.absmax(r);
    store_float(DType::float32, q.absmax.data, r * q.absmax.strides[0], absmax, Overflow::saturate);
    all.write_codes(r, vectorwise_factor(absmax));
  });
  return {};
}

}  // namespace octavo::cpu
