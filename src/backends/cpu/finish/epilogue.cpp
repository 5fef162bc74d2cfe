// SPDX-License-Identifier: Apache-2.0
// Scales, outliers, alpha, C, bias and scale_result over tiles of sums.
#include "backends/cpu/finish/epilogue.hpp"

#include <algorithm>
#include <limits>

#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "backends/cpu/streams.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/scales/grid.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo::cpu {
namespace {

using TileRow = std::array<float, kTileCols>;

constexpr std::int64_t kLine = 64;  // bytes that are fetched at a time

bool constant_scale(const ScaleView& scale, Side side) noexcept {
  return scale.present() && !varies_along_k(scale, side);
}

bool is_single(const ScaleView& scale, std::int64_t cell) noexcept {
  return scale.kind != ScaleKind::tensor || cell == kWholeExtent;
}

bool whole_floats(const void* data) noexcept {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0;
}

// Zeros after the last column keep the arithmetic of padding free of surprises.
const float* padded(TileRow& row, std::int64_t count) noexcept {
  std::fill(row.begin() + count, row.end(), 0.0F);
  return row.data();
}

const float* load_scale_b(const ScaleView& scale, std::int64_t n0, std::int64_t count,
                          TileRow& row) noexcept {
  const Elements& v = scale.data;
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

const float* load_bias(const Elements& bias, std::int64_t n0, std::int64_t count,
                       TileRow& row) noexcept {
  const void* first = bias.at(0, n0);
  if (bias.dtype == DType::float32 && bias.strides[1] == 1 && count == kTileCols &&
      whole_floats(first)) {
    return static_cast<const float*>(first);
  }
  widen(best_kernels(), bias.dtype, first, bias.strides[1], count, row.data());
  return padded(row, count);
}

void copy_out(const char* staged, std::int64_t rows, std::int64_t count, const MatrixView& out,
              void* first) noexcept {
  MatrixView from;
  from.data = const_cast<char*>(staged);  // NOLINT: only read
  from.dtype = out.dtype;
  from.shape = {rows, count};
  from.strides = {kTileCols, 1};
  MatrixView to = from;
  to.data = first;
  to.strides = out.strides;
  copy_elements(from, to);
}

bool lies_in_whole_lines(const MatrixView& out) noexcept {
  return out.strides[1] == 1 && begin_lines(out.data, out.strides[0] * element_bytes(out.dtype));
}

}  // namespace

Finisher::Finisher(const Member& member, const MatmulOptions& options, const EpilogueRows& rows,
                   bool streamed) noexcept
    : member_(member),
      options_(options),
      rows_(rows),
      streams_(streamed && lies_in_whole_lines(member.out)) {}

Finisher::~Finisher() {
  if (streams_) end_streams();
}

EpilogueRows load_rows(const Member& p, Arena& arena) noexcept {
  EpilogueRows rows;
  const std::int64_t count = p.a.data.shape[0];
  for (std::size_t level = 0; level < 2; ++level) {
    const ScaleView& scale = p.a.scale[level];
    if (!constant_scale(scale, Side::a)) continue;
    const Elements& v = scale.data;
    const bool single = is_single(scale, scale.rows);
    const std::int64_t distinct = single ? std::min<std::int64_t>(count, 1) : count;
    const bool floats_lie_there =
        scale.kind == ScaleKind::tensor && v.dtype == DType::float32 && (scale.rows == 1 || single);
    // Room for a copy is there at any address: plans do not know them.
    auto* floats = arena.take<float>(distinct);
    if (floats_lie_there && whole_floats(v.data)) {
      rows.stride[level] = single ? 0 : v.strides[0];
      rows.scale[level] = static_cast<const float*>(
          v.at(scale.row0 / scale.rows * v.strides[0] + scale.col0 / scale.cols * v.strides[1]));
      continue;
    }
    for (std::int64_t m = 0; m < distinct && !arena.counting(); ++m) {
      floats[m] = scale_at(scale, m, 0);
    }
    rows.scale[level] = floats;
    rows.stride[level] = single ? 0 : 1;
  }
  return rows;
}

void Finisher::add_step(FinishStep::Kind kind, const float* data, std::int64_t stride) noexcept {
  steps_[step_count_++] = {kind, data, stride};
}

void Finisher::set_columns(std::int64_t n0, std::int64_t count) noexcept {
  using Kind = FinishStep::Kind;
  const Epilogue& e = member_.epilogue;
  n0_ = n0;
  count_ = count;
  step_count_ = 0;
  row_scale_ = {};
  outliers_ = nullptr;
  // No scale of an operand and no alpha enters an empty sum. For PyTorch it is 0, whatever would be
  // added to it.
  const bool empty = member_.a.data.shape[1] == 0;
  if (options_.torch_compat && empty) return;
  for (std::size_t level = 0; level < 2; ++level) {
    if (rows_.scale[level] == nullptr || empty) continue;
    row_scale_[level] = &steps_[step_count_];
    add_step(Kind::scale_row, rows_.scale[level], rows_.stride[level]);
  }
  // Where the outliers of a tile lie is known with its sums.
  const auto add_outliers = [&] {
    outliers_ = &steps_[step_count_];
    add_step(Kind::add_elements, c_.front().data(), kTileCols);
  };
  const bool original = e.outliers.weight.defined();
  if (e.outliers.present() && !original) add_outliers();
  for (std::size_t level = 0; level < 2; ++level) {
    const ScaleView& scale = member_.b.scale[level];
    if (!constant_scale(scale, Side::b) || empty) continue;
    add_step(Kind::scale_elements, load_scale_b(scale, n0, count, terms_[level]), 0);
  }
  if (e.outliers.present() && original) add_outliers();
  if (e.alpha.present() && !empty) {
    alpha_ = factor_at(e.alpha, 0);
    add_step(Kind::scale_row, &alpha_, 0);
  }
  if (e.c.defined()) add_step(Kind::add_elements, c_.front().data(), kTileCols);
  if (bias_by_rows()) {
    add_step(Kind::add_elements, bias_.front().data(), kTileCols);
  } else if (e.bias.defined()) {
    add_step(Kind::add_elements, load_bias(e.bias, n0, count, terms_[2]), 0);
  }
  if (e.scale_result.present()) {
    for (std::int64_t j = 0; j < count; ++j) {
      terms_[3][static_cast<std::size_t>(j)] = factor_at(e.scale_result, n0 + j);
    }
    add_step(Kind::scale_elements, padded(terms_[3], count), 0);
  }
}

void Finisher::prefetch_terms() const noexcept {
  for (std::size_t i = 0; i < step_count_; ++i) {
    if (steps_[i].kind == FinishStep::Kind::scale_row || steps_[i].stride != 0) continue;
    const auto* first = reinterpret_cast<const char*>(steps_[i].data);
    for (std::int64_t b = 0; b < count_ * 4; b += kLine) __builtin_prefetch(first + b);
  }
}

void Finisher::prefetch_output(std::int64_t m0, std::int64_t rows) const noexcept {
  const MatrixView& out = member_.out;
  if (out.strides[1] != 1 || streams_) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    const auto* first =
        static_cast<const char*>(out.at((m0 + r) * out.strides[0] + n0_ * out.strides[1]));
    for (std::int64_t b = 0; b < count_ * element_bytes(out.dtype); b += kLine) {
      __builtin_prefetch(first + b, 1);
    }
  }
}

void Finisher::stage(const Elements& addend, float factor, std::int64_t m, std::int64_t rows,
                     std::array<TileRow, kStagedRows>& out) const noexcept {
  const Elements& v = addend;
  for (std::int64_t r = 0; r < rows; ++r) {
    TileRow& row = out[static_cast<std::size_t>(r)];
    widen(best_kernels(), v.dtype, v.at((m + r) * v.strides[0] + n0_ * v.strides[1]), v.strides[1],
          count_, row.data());
    for (std::int64_t j = 0; j < count_; ++j) row[static_cast<std::size_t>(j)] *= factor;
    (void)padded(row, count_);
  }
}

void Finisher::finish(const TileSums& sums) noexcept {
  const MatrixView& out = member_.out;
  const Epilogue& e = member_.epilogue;
  const bool staged = e.c.defined() || bias_by_rows();
  const std::int64_t bytes = element_bytes(out.dtype);
  const bool in_place = out.strides[1] == 1 && count_ == kTileCols;
  const std::int64_t step = in_place && !staged ? sums.rows : kStagedRows;
  for (std::int64_t r = 0; r < sums.rows; r += step) {
    const std::int64_t rows = std::min(step, sums.rows - r);
    const std::int64_t m = sums.m0 + r;
    if (e.c.defined()) stage(e.c, factor_at(e.beta, 0), m, rows, c_);
    if (bias_by_rows()) stage(e.bias, 1.0F, m, rows, bias_);
    for (std::size_t level = 0; level < 2; ++level) {
      if (row_scale_[level] == nullptr) continue;
      row_scale_[level]->data = rows_.scale[level] + m * rows_.stride[level];
    }
    if (outliers_ != nullptr) outliers_->data = sums.outliers + r * kTileCols;
    void* first = out.at(m * out.strides[0] + n0_ * out.strides[1]);
    kernels_.finish({
        .rows = rows,
        .floats = sums.floats != nullptr ? sums.floats + r * kTileCols : nullptr,
        .integers = sums.integers != nullptr ? sums.integers + r * kTileCols : nullptr,
        .steps = {steps_.data(), step_count_},
        .dtype = out.dtype,
        .overflow = options_.overflow,
        .out = in_place ? first : staged_.data(),
        .row_bytes = in_place ? out.strides[0] * bytes : kTileCols * bytes,
        .streamed = in_place && streams_,
    });
    if (!in_place) copy_out(staged_.data(), rows, count_, out, first);
  }
}

void finish_exact_row(const Member& p, std::int64_t m, std::int64_t n0, std::int64_t count,
                      const std::int64_t* sums) noexcept {
  const MatrixView& out = p.out;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto saturated = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(sums[j], std::numeric_limits<std::int32_t>::min(),
                                 std::numeric_limits<std::int32_t>::max()));
    store_int32(out.data, m * out.strides[0] + (n0 + j) * out.strides[1], saturated);
  }
}

}  // namespace octavo::cpu
