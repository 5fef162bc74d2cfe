// SPDX-License-Identifier: Apache-2.0
// Scales, outliers, alpha, C, bias and scale_result over tiles of sums.
#include "backends/cpu/epilogue.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "backends/cpu/pack.hpp"
#include "backends/cpu/rows.hpp"
#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/grid.hpp"

namespace octavo::cpu {
namespace {

using Row = std::array<float, kTileCols>;

bool constant_scale(const ScaleView& scale, Side side) noexcept {
  return scale.present() && !varies_along_k(scale, side);
}

bool is_single(const ScaleView& scale, std::int64_t cell) noexcept {
  return scale.kind != ScaleView::Kind::tensor || cell == kWholeExtent;
}

bool whole_floats(const void* data) noexcept {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0;
}

// Zeros after the last column keep the arithmetic of padding free of surprises.
const float* padded(Row& row, std::int64_t count) noexcept {
  std::fill(row.begin() + count, row.end(), 0.0F);
  return row.data();
}

const float* load_scale_b(const ScaleView& scale, std::int64_t n0, std::int64_t count,
                          Row& row) noexcept {
  const TensorView& v = scale.data;
  if (is_single(scale, scale.cols)) {
    row.fill(scale_at(scale, 0, n0));
    return row.data();
  }
  if (scale.cols == 1 && v.dtype == DType::float32 && v.strides[1] == 1 && whole_floats(v.data)) {
    const auto* first =
        static_cast<const float*>(v.at(scale.row0 / scale.rows * v.strides[0] + scale.col0 + n0));
    if (count == kTileCols) return first;
    std::copy_n(first, count, row.begin());
    return padded(row, count);
  }
  for (std::int64_t j = 0; j < count; ++j) {
    row[static_cast<std::size_t>(j)] = scale_at(scale, 0, n0 + j);
  }
  return padded(row, count);
}

const float* load_bias(const TensorView& bias, std::int64_t n0, std::int64_t count,
                       Row& row) noexcept {
  const void* first = bias.at(n0 * bias.strides[0]);
  if (bias.dtype == DType::float32 && bias.strides[0] == 1 && count == kTileCols &&
      whole_floats(first)) {
    return static_cast<const float*>(first);
  }
  widen(best_kernels(), bias.dtype, first, bias.strides[0], count, row.data());
  return padded(row, count);
}

// Rows at a time where a term or the output needs a tile of its own.
constexpr std::int64_t kStagedRows = 16;
using StagedFloats = std::array<float, static_cast<std::size_t>(kStagedRows* kTileCols)>;

const float* scaled_c(const Epilogue& e, std::int64_t m0, std::int64_t rows, std::int64_t n0,
                      std::int64_t count, StagedFloats& tile) noexcept {
  const float beta = factor_at(e.beta, 0);
  for (std::int64_t r = 0; r < rows; ++r) {
    float* row = tile.data() + r * kTileCols;
    widen(best_kernels(), e.c.dtype, e.c.at((m0 + r) * e.c.strides[0] + n0 * e.c.strides[1]),
          e.c.strides[1], count, row);
    for (std::int64_t j = 0; j < count; ++j) row[j] *= beta;
    std::fill(row + count, row + kTileCols, 0.0F);
  }
  return tile.data();
}

// Section 3's steps, in its order.
class Steps {
 public:
  using Kind = FinishStep::Kind;

  Steps(const Epilogue& e, const EpilogueRows& rows, const EpilogueColumns& columns,
        const TileSums& sums, std::int64_t skip, const float* c) noexcept {
    const float* outliers = sums.outliers != nullptr ? sums.outliers + skip * kTileCols : nullptr;
    for (std::size_t level = 0; level < 2; ++level) {
      const float* scale = rows.scale[level];
      const std::int64_t stride = rows.stride[level];
      if (scale != nullptr) add(Kind::scale_row, scale + (sums.m0 + skip) * stride, stride);
    }
    if (!e.outliers.weight.defined()) add(Kind::add_elements, outliers, kTileCols);
    for (const float* scale : columns.scale_b) add(Kind::scale_elements, scale, 0);
    if (e.outliers.weight.defined()) add(Kind::add_elements, outliers, kTileCols);
    if (e.alpha.present()) add(Kind::scale_row, &columns.alpha, 0);
    add(Kind::add_elements, c, kTileCols);
    add(Kind::add_elements, columns.bias, 0);
    add(Kind::scale_elements, columns.scale_result, 0);
  }
  std::span<const FinishStep> span() const noexcept { return {steps_.data(), count_}; }

 private:
  void add(Kind kind, const float* data, std::int64_t stride) noexcept {
    if (data != nullptr) steps_[count_++] = {kind, data, stride};
  }
  std::array<FinishStep, 10> steps_;
  std::size_t count_ = 0;
};

void copy_out(const char* staged, std::int64_t rows, std::int64_t count, const TensorView& out,
              void* first) noexcept {
  TensorView from;
  from.data = const_cast<char*>(staged);  // NOLINT: only read
  from.dtype = out.dtype;
  from.rank = 2;
  from.shape = {rows, count};
  from.strides = {kTileCols, 1};
  TensorView to = from;
  to.data = first;
  to.strides = out.strides;
  copy_elements(from, to);
}

}  // namespace

EpilogueRows load_rows(const Member& p, Arena& arena) noexcept {
  EpilogueRows rows;
  const std::int64_t count = p.a.data.shape[0];
  for (std::size_t level = 0; level < 2; ++level) {
    const ScaleView& scale = p.a.scale[level];
    if (!constant_scale(scale, Side::a)) continue;
    const TensorView& v = scale.data;
    const bool single = is_single(scale, scale.rows);
    if (scale.kind == ScaleView::Kind::tensor && v.dtype == DType::float32 &&
        whole_floats(v.data) && (scale.rows == 1 || single)) {
      rows.stride[level] = single ? 0 : v.strides[0];
      rows.scale[level] = static_cast<const float*>(
          v.at(scale.row0 / scale.rows * v.strides[0] + scale.col0 / scale.cols * v.strides[1]));
      continue;
    }
    const std::int64_t distinct = single ? std::min<std::int64_t>(count, 1) : count;
    auto* floats = arena.take<float>(distinct);
    for (std::int64_t m = 0; m < distinct && !arena.counting(); ++m) {
      floats[m] = scale_at(scale, m, 0);
    }
    rows.scale[level] = floats;
    rows.stride[level] = single ? 0 : 1;
  }
  return rows;
}

void load_columns(const Member& p, std::int64_t n0, std::int64_t count,
                  EpilogueColumns& columns) noexcept {
  columns.n0 = n0;
  columns.count = count;
  for (std::size_t level = 0; level < 2; ++level) {
    const ScaleView& scale = p.b.scale[level];
    if (!constant_scale(scale, Side::b)) continue;
    columns.scale_b[level] = load_scale_b(scale, n0, count, columns.store[level]);
  }
  const Epilogue& e = p.epilogue;
  if (e.bias.defined()) columns.bias = load_bias(e.bias, n0, count, columns.store[2]);
  if (e.alpha.present()) columns.alpha = factor_at(e.alpha, 0);
  if (e.scale_result.present()) {
    Row& row = columns.store[3];
    for (std::int64_t j = 0; j < count; ++j) {
      row[static_cast<std::size_t>(j)] = factor_at(e.scale_result, n0 + j);
    }
    columns.scale_result = padded(row, count);
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

void finish_tile(const Member& p, const MatmulOptions& options, const EpilogueRows& rows,
                 const EpilogueColumns& columns, const TileSums& sums) noexcept {
  const Epilogue& e = p.epilogue;
  const TensorView& out = p.out;
  const std::int64_t bytes = element_bytes(out.dtype);
  const bool in_place = out.strides[1] == 1 && columns.count == kTileCols;
  const std::int64_t step = in_place && !e.c.defined() ? sums.rows : kStagedRows;
  StagedFloats c;
  alignas(64) std::array<char, kStagedRows * kTileCols * 4> staged;
  for (std::int64_t r = 0; r < sums.rows; r += step) {
    const std::int64_t count = std::min(step, sums.rows - r);
    const std::int64_t m = sums.m0 + r;
    const float* addend =
        e.c.defined() ? scaled_c(e, m, count, columns.n0, columns.count, c) : nullptr;
    const Steps steps(e, rows, columns, sums, r, addend);
    // An empty sum is 0 for PyTorch, whatever would be added to it.
    const bool nothing = options.torch_compat && p.a.data.shape[1] == 0;
    void* first = out.at(m * out.strides[0] + columns.n0 * out.strides[1]);
    best_kernels().finish({
        .rows = count,
        .floats = sums.floats != nullptr ? sums.floats + r * kTileCols : nullptr,
        .integers = sums.integers != nullptr ? sums.integers + r * kTileCols : nullptr,
        .shift = sums.shift != nullptr ? sums.shift + r : nullptr,
        .column_sums = sums.column_sums,
        .steps = nothing ? std::span<const FinishStep>() : steps.span(),
        .dtype = out.dtype,
        .overflow = options.overflow,
        .out = in_place ? first : staged.data(),
        .row_bytes = in_place ? out.strides[0] * bytes : kTileCols * bytes,
    });
    if (!in_place) copy_out(staged.data(), count, columns.count, out, first);
  }
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
