// SPDX-License-Identifier: Apache-2.0
// Weights of several layers that read the same activations, stacked into one.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>
#include <vector>

#include "core/data/cells.hpp"
#include "core/data/convert.hpp"
#include "core/error.hpp"
#include "core/fp_env.hpp"
#include "octavo/weight.hpp"
#include "weights/outlier_columns.hpp"
#include "weights/rule.hpp"

namespace octavo {
namespace {

constexpr const char* kFuse = "fuse";

std::int64_t weight_rows(const Weight& w) { return w.codes.data.size(0); }
std::int64_t cols_of(const Weight& w) { return w.codes.data.size(1); }

bool alike(const std::optional<ActivationQuant>& a, const std::optional<ActivationQuant>& b) {
  return a && b ? same_rule(*a, *b) : a.has_value() == b.has_value();
}

bool same_columns(const Tensor& a, const Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() == b.defined();
  const auto* first = a.data_as<std::int64_t>();
  return a.numel() == b.numel() && std::equal(first, first + a.numel(), b.data_as<std::int64_t>());
}

void check_alike(const Weight& first, const Weight& other, std::size_t index) {
  struct Condition {
    const char* what;
    bool same;
  };
  for (const Condition& row :
       {Condition{"be 2-D", other.codes.data.rank() == 2},
        Condition{"have the first one's K", cols_of(first) == cols_of(other)},
        Condition{"have the first one's type",
                  first.codes.data.dtype() == other.codes.data.dtype()},
        Condition{"have the first one's scheme", first.scheme == other.scheme},
        Condition{"have scales over as many columns as the first one",
                  first.codes.grid.cols == other.codes.grid.cols &&
                      first.codes.col0 == other.codes.col0 &&
                      first.codes.scale.defined() == other.codes.scale.defined()},
        Condition{"have the first one's activation rule",
                  alike(first.activation, other.activation)},
        Condition{"have row maxima (absmax) where the first one has",
                  first.absmax.defined() == other.absmax.defined()},
        Condition{"have the first one's order of columns",
                  same_columns(first.columns, other.columns)}}) {
    if (row.same) continue;
    refuse(Code::invalid_argument, "fuse: weights[{}] must {}; got {} {} of {}", index, row.what,
           name(other.codes.data.dtype()), shape_string(other.codes.data), other.scheme);
  }
}

// The rows of the stack's scales: how many one covers, and where in one it begins.
struct CommonRows {
  std::int64_t cell = 1;
  std::int64_t row0 = 0;
};

// The tallest cells that no shard's border cuts, beginning in one where the first shard does.
CommonRows common_rows(std::span<const Weight> weights) {
  std::int64_t cell = 0;
  std::int64_t begin = 0;
  std::int64_t first = 0;
  for (const Weight& w : weights) {
    if (weight_rows(w) == 0) continue;
    if (w.codes.grid.rows == kWholeExtent) return {};
    if (begin == 0) {
      first = w.codes.row0;
    } else {
      cell = std::gcd(std::gcd(cell, w.codes.row0), first + begin);
    }
    cell = std::gcd(cell, w.codes.grid.rows);
    begin += weight_rows(w);
  }
  if (cell == 0) return {};
  return {cell, first % cell};
}

Tensor stacked_codes(std::span<const Weight> weights, std::int64_t rows) {
  const Tensor all = Tensor::empty(weights[0].codes.data.dtype(), {rows, cols_of(weights[0])});
  auto* at = static_cast<std::byte*>(all.data());
  for (const Weight& w : weights) {
    TensorView part = w.codes.data.view();
    part.data = at;
    part.strides = {cols_of(w), 1};
    copy_elements(w.codes.data, part);
    at += part.numel() * element_bytes(part.dtype);
  }
  return all;
}

// What a shard has for each cell of its scales, repeated over the rows that a cell covers; zeros
// for a shard that has none.
template <class T>
Tensor stacked_cells(std::span<const Weight> weights, std::int64_t rows, const Quantized& stack,
                     DType dtype, Tensor Quantized::*part) {
  const std::int64_t across = cells(stack.col0 + cols_of(weights[0]), stack.grid.cols);
  const Tensor all = Tensor::empty(dtype, {cells(stack.row0 + rows, stack.grid.rows), across});
  T* to = all.data_as<T>();
  std::int64_t inside = stack.row0;  // of the stack's cell, where a shard begins
  for (const Weight& w : weights) {
    const Quantized& codes = w.codes;
    const bool there = (codes.*part).defined();
    const Tensor own = there ? copy(codes.*part, dtype) : Tensor();
    for (std::int64_t i = 0; i < weight_rows(w); i += stack.grid.rows - std::exchange(inside, 0)) {
      const std::int64_t cell =
          codes.grid.rows == kWholeExtent ? 0 : (codes.row0 + i) / codes.grid.rows;
      to = there ? std::copy_n(own.data_as<T>() + cell * across, across, to)
                 : std::fill_n(to, across, T{});
    }
  }
  return all;
}

Tensor stacked_maxima(std::span<const Weight> weights, std::int64_t rows) {
  Tensor all = Tensor::empty(DType::float32, {rows});
  float* to = all.data_as<float>();
  for (const Weight& w : weights) to = std::copy_n(w.absmax.data_as<float>(), weight_rows(w), to);
  return all;
}

// A column that any shard lists.
Tensor united_columns(std::span<const Weight> weights) {
  std::set<std::int64_t> all;
  for (const Weight& w : weights) {
    const auto list = outlier_column_list(w.activation->outlier_columns);
    all.insert(list.begin(), list.end());
  }
  const std::vector<std::int64_t> columns(all.begin(), all.end());
  return outlier_column_tensor(Code::invalid_argument, "fuse: outlier_columns", columns,
                               cols_of(weights[0]));
}

// The range of a static rule: what its smallest and largest code mean.
struct StaticRange {
  float low = 0.0F, high = 0.0F;
};
StaticRange range_of(const ActivationQuant& rule, float qmin) {
  const auto value = [&](float code) {
    return (code - static_cast<float>(rule.static_azp)) * rule.static_scale;
  };
  return {value(qmin), value(qmin + 255.0F)};
}

// One static rule that covers what every shard's covers. Zero points round, as the quantiser's do.
std::optional<ActivationQuant> merged_rule(std::span<const Weight> weights) {
  std::optional<ActivationQuant> merged = weights[0].activation;
  if (!merged) return merged;
  merged->outlier_columns = united_columns(weights);
  if (merged->static_scale == 0.0F) return merged;
  const FloatEnvironment environment;
  const float qmin = merged->spec.dtype == DType::uint8 ? 0.0F : -128.0F;
  StaticRange all = range_of(*merged, qmin);
  bool same = true;
  for (const Weight& w : weights) {
    const StaticRange range = range_of(*w.activation, qmin);
    all = {std::min(all.low, range.low), std::max(all.high, range.high)};
    same = same && w.activation->static_scale == weights[0].activation->static_scale &&
           w.activation->static_azp == weights[0].activation->static_azp;
    merged->static_scale = std::max(merged->static_scale, w.activation->static_scale);
  }
  if (same || !merged->spec.azp) return merged;
  merged->static_scale = (all.high - all.low) / 255.0F;
  merged->static_azp =
      static_cast<std::int32_t>(std::nearbyint(qmin - all.low / merged->static_scale));
  return merged;
}

}  // namespace

Weight fuse(std::span<const Weight> weights) {
  return at_edge(kFuse, [&] {
    if (weights.empty()) {
      refuse(Code::invalid_argument, "fuse: weights must have at least one entry; got none");
    }
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < weights.size(); ++i) {
      check_alike(weights[0], weights[i], i);
      rows += weight_rows(weights[i]);
    }
    if (weights.size() == 1) return weights[0];
    Weight all;
    all.scheme = weights[0].scheme;
    all.activation = merged_rule(weights);
    all.columns = weights[0].columns;
    all.codes.data = stacked_codes(weights, rows);
    if (weights[0].absmax.defined()) all.absmax = stacked_maxima(weights, rows);
    if (!weights[0].codes.scale.defined()) return all;
    const auto [cell, row0] = common_rows(weights);
    all.codes.grid = {cell, weights[0].codes.grid.cols};
    all.codes.row0 = row0;
    all.codes.col0 = weights[0].codes.col0;
    all.codes.scale =
        stacked_cells<float>(weights, rows, all.codes, DType::float32, &Quantized::scale);
    const bool azp =
        std::ranges::any_of(weights, [](const Weight& w) { return w.codes.azp.defined(); });
    if (azp) {
      all.codes.azp =
          stacked_cells<std::int32_t>(weights, rows, all.codes, DType::int32, &Quantized::azp);
    }
    return all;
  });
}

}  // namespace octavo
