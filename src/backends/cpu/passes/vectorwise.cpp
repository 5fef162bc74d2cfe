// SPDX-License-Identifier: Apache-2.0
// Section 8: a row's statistic, its codes, and the columns that hold outliers.
//
// A matrix is read from memory once: what a row reaches and which of its elements are outliers
// comes from one pass, its codes from a second one while it is in a cache. Which columns are
// outliers is known after the last row; their codes are cleared then. Only statistics beside whole
// columns need the columns first.
#include "backends/cpu/passes/vectorwise.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/passes/runs.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "core/data/element.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

// What clearing a code in another line of memory costs, in elements that are read in a row.
constexpr std::int64_t kClearCost = 8;
constexpr float kMost = 127.0F;  // of codes

void clear_codes(const VectorwiseProblem& q, std::int64_t r,
                 std::span<const std::int64_t> columns) noexcept {
  auto* codes = static_cast<std::int8_t*>(q.codes.data) + r * q.codes.strides[0];
  for (const std::int64_t c : columns) codes[c * q.codes.strides[1]] = 0;
}

class RowWalk {
 public:
  RowWalk(const VectorwiseCall& call, const VectorwisePass& pass) noexcept
      : q_(call.q), call_(call), pass_(pass) {}

  void row(std::int64_t r) const noexcept {
    const float reached = most(r);
    if (!pass_.rows) return;
    const float absmax = call_.store_absmax(r, reached);
    if (!q_.codes.defined()) return;
    write_codes(r, call_.is_zero_row(r) ? 0.0F : vectorwise_factor(absmax), absmax / kMost);
    clear_codes(q_, r, pass_.left_out);
  }

 private:
  // The largest magnitude below the limit, NaN above all.
  float most(std::int64_t r) const noexcept {
    const Kernels& kernels = best_kernels();
    std::uint32_t most = 0;  // as bits
    for_each_kept(pass_.left_out, q_.x.shape[1], [&](std::int64_t c0, std::int64_t c1) {
      for_each_run(
          q_.x, r, c0, c1, [&](DType from, const void* run, std::int64_t c, std::int64_t count) {
            const float reached =
                pass_.finds
                    ? kernels.find_outliers(from, run, count, call_.limit, q_.column_flags + c)
                    : kernels.absmax(from, run, count, numbers_from(call_.limit));
            most = std::max(most, std::bit_cast<std::uint32_t>(reached));
          });
    });
    for (const std::int64_t c : pass_.left_out) {
      if (std::isnan(load_float(q_.x, r, c))) most = kNanBits;
    }
    return std::bit_cast<float>(most);
  }

  void write_codes(std::int64_t r, float factor, float scale) const noexcept {
    for_each_run(q_.x, r, 0, q_.x.shape[1],
                 [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
                   quantize_run({.from = from,
                                 .source = row,
                                 .count = count,
                                 .factor = factor,
                                 .vectorwise = true,
                                 .limit = call_.limit,
                                 .errors = q_.errors,
                                 .scale = scale,
                                 .largest = kMost},
                                q_.codes, r, c);
                 });
  }

  const VectorwiseProblem& q_;
  const VectorwiseCall& call_;
  const VectorwisePass& pass_;
};

void walk(const VectorwiseCall& call, const VectorwisePass& pass) noexcept {
  if (walks_columns(call.q)) return walk_columns(call, pass);
  const std::int64_t rows = call.q.x.shape[0];
  const RowWalk all(call, pass);
  const bool alone = call.q.errors != nullptr;
  const std::int64_t bands = alone ? 1 : bands_of(call.context, rows, rows * call.q.x.shape[1]);
  for_each_band(call.context, bands, rows, [&](std::int64_t, std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) all.row(r);
  });
}

// Flags of the fixed columns alone.
void flag_fixed(const VectorwiseProblem& q) noexcept {
  std::memset(q.column_flags, 0, static_cast<std::size_t>(q.x.shape[1]));
  for (std::int64_t i = 0; i < q.fixed_columns.count; ++i) q.column_flags[q.fixed_columns[i]] = 1;
}

// Columns that are fixed: flagged and listed.
std::span<const std::int64_t> list_fixed(const VectorwiseProblem& q) noexcept {
  flag_fixed(q);
  const std::int64_t count = q.fixed_columns.count;
  for (std::int64_t i = 0; i < count; ++i) q.columns[i] = q.fixed_columns[i];
  *q.column_count = count;
  return {q.columns, static_cast<std::size_t>(count)};
}

std::span<const std::int64_t> list_flagged(const VectorwiseProblem& q) noexcept {
  std::int64_t count = 0;
  const std::int64_t cols = q.x.shape[1];
  for (std::int64_t c = 0; c < cols;) {
    std::uint64_t eight = 0;
    const std::int64_t end = std::min(c + 8, cols);
    std::memcpy(&eight, q.column_flags + c, static_cast<std::size_t>(end - c));
    for (; c < end && eight != 0; ++c) {
      if (q.column_flags[c] != 0) q.columns[count++] = c;
    }
    c = end;
  }
  *q.column_count = count;
  return {q.columns, static_cast<std::size_t>(count)};
}

void clear_columns(const VectorwiseCall& call, std::span<const std::int64_t> columns) noexcept {
  const VectorwiseProblem& q = call.q;
  if (!q.codes.defined() || columns.empty()) return;
  const std::int64_t rows = q.x.shape[0];
  const auto count = static_cast<std::int64_t>(columns.size());
  for_each_band(call.context, bands_of(call.context, rows, rows * count * kClearCost), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t r = begin; r < end; ++r) clear_codes(q, r, columns);
                });
}

}  // namespace

float VectorwiseCall::store_absmax(std::int64_t r, float most) const noexcept {
  const float absmax = std::isfinite(most) ? most : std::numeric_limits<float>::quiet_NaN();
  store_float(DType::float32, q.absmax.data, r * q.absmax.strides[0], absmax, Overflow::saturate);
  return absmax;
}

Status vectorwise(const VectorwiseProblem& q, const ExecContext& context) noexcept {
  const bool finds = q.column_flags != nullptr && q.threshold > 0.0F;
  const VectorwiseCall call{
      q, context, q.threshold > 0.0F ? std::bit_cast<std::uint32_t>(q.threshold) : kNanBits};
  if (q.column_flags == nullptr) {
    walk(call, {});
    return {};
  }
  const std::span<const std::int64_t> fixed = list_fixed(q);
  if (!finds) {
    walk(call, {.left_out = fixed});
  } else if (q.whole_columns && !q.by_element) {
    walk(call, {.left_out = fixed, .finds = true, .rows = false});
    walk(call, {.left_out = list_flagged(q)});
  } else {
    walk(call, {.left_out = fixed, .finds = true});
    const std::span<const std::int64_t> all = list_flagged(q);
    if (q.by_element) {
      flag_fixed(q);
    } else {
      clear_columns(call, all);
    }
  }
  return {};
}

}  // namespace octavo::cpu
