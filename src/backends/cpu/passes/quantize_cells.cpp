// SPDX-License-Identifier: Apache-2.0
// Section 6 over a stretch of cells: one kernel call a row and pass, however many cells it has.
#include "backends/cpu/passes/quantize_cells.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "backends/cpu/passes/runs.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/streams.hpp"
#include "core/cpu_features.hpp"
#include "core/data/cells.hpp"
#include "core/data/element.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kRowsAhead = 2;  // that are fetched where a stretch leaves the caches
constexpr std::int64_t kLine = 64;      // bytes
constexpr auto kInfinite = static_cast<std::int32_t>(kInfinityBits);

std::int64_t begin_of(std::int64_t extent, std::int64_t cell, std::int64_t index) noexcept {
  return index == 0 ? 0 : cell_end(extent, cell, index - 1);
}

// The largest quotient, by its bits: of those without a sign, negative quotients, infinities and
// NaN are the largest.
std::uint32_t steepest_of(const CellRanges& ranges, const CellFactors& factors,
                          std::int64_t count) noexcept {
  std::uint32_t steepest = 0;
  for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
    const float quotient = std::bit_cast<float>(ranges.most[j]) / factors.scale[j];
    steepest = std::max(steepest, std::bit_cast<std::uint32_t>(quotient));
  }
  return steepest;
}

}  // namespace

CellRanges::CellRanges(std::int64_t count) noexcept {
  std::fill_n(most.begin(), count, 0);
  std::fill_n(low.begin(), count, std::numeric_limits<float>::infinity());
  std::fill_n(high.begin(), count, -std::numeric_limits<float>::infinity());
}

void CellRanges::join(const CellRanges& other, std::int64_t count) noexcept {
  for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
    most[j] = std::max(most[j], other.most[j]);
    low[j] = std::min(low[j], other.low[j]);
    high[j] = std::max(high[j], other.high[j]);
  }
}

Cells::Cells(const QuantizeProblem& problem) noexcept
    : q_(problem),
      height_(std::min(problem.grid.rows, std::max<std::int64_t>(problem.x.shape[0], 1))),
      width_(std::min(problem.grid.cols, std::max<std::int64_t>(problem.x.shape[1], 1))),
      flat_(problem.x.strides[1] == 1 &&
            (!problem.codes.defined() || problem.codes.strides[1] == 1)) {}

CellStretch Cells::stretch(std::int64_t i, std::int64_t j0, std::int64_t j1) const noexcept {
  const std::int64_t rows = q_.x.shape[0];
  const std::int64_t cols = q_.x.shape[1];
  return {i,
          j0,
          j1,
          begin_of(rows, q_.grid.rows, i),
          cell_end(rows, q_.grid.rows, i),
          begin_of(cols, q_.grid.cols, j0),
          cell_end(cols, q_.grid.cols, j1 - 1)};
}

CellStretch Cells::cell(const CellStretch& s, std::int64_t j) const noexcept {
  CellStretch one = s;
  one.j0 = s.j0 + j;
  one.j1 = one.j0 + 1;
  one.c0 = s.c0 + j * width_;
  one.c1 = std::min(s.c1, one.c0 + width_);
  return one;
}

// Calls visit(type, source, column, count, run, j): `count` neighbours from a column on, cells of
// `run` each, the first of them the stretch's j-th. Cells of a row that has to be gathered come one
// by one, unless they are single elements.
template <class Visit>
void Cells::for_each_piece(const CellStretch& s, std::int64_t r,
                           const Visit& visit) const noexcept {
  if (s.c0 >= s.c1) return;
  if (flat_ || width_ == 1) {
    for_each_run(q_.x, r, s.c0, s.c1,
                 [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
                   visit(from, row, c, count, width_, (c - s.c0) / width_);
                 });
    return;
  }
  for (std::int64_t j = 0; j < s.count(); ++j) {
    const CellStretch one = cell(s, j);
    for_each_run(q_.x, r, one.c0, one.c1,
                 [&](DType from, const void* row, std::int64_t c, std::int64_t count) {
                   visit(from, row, c, count, count, j);
                 });
  }
}

bool Cells::are_streams(const CellStretch& s) const noexcept {
  constexpr std::int64_t kLeastBytes = 4096;
  return width_ > 1 && (s.c1 - s.c0) * element_bytes(q_.x.dtype) >= kLeastBytes;
}

void Cells::find(const CellStretch& s, CellRanges& ranges) const noexcept {
  const Kernels& kernels = best_kernels();
  const bool streams = are_streams(s);
  for (std::int64_t r = s.r0; r < s.r1; ++r) {
    const void* ahead = nullptr;
    if (flat_ && r + kRowsAhead < s.r1 && !streams) {
      ahead = q_.x.at((r + kRowsAhead) * q_.x.strides[0] + s.c0 * q_.x.strides[1]);
    }
    for_each_piece(s, r,
                   [&](DType from, const void* row, std::int64_t, std::int64_t count,
                       std::int64_t run, std::int64_t j) {
                     if (q_.spec.azp) {
                       return kernels.ranges(from, row, count, run, ranges.low.data() + j,
                                             ranges.high.data() + j, ranges.most.data() + j);
                     }
                     kernels.magnitudes(from, row, count, run, ranges.most.data() + j, ahead);
                   });
  }
}

// The second look at a cell that holds an infinity or a NaN.
float Cells::finite_absmax(const CellStretch& one) const noexcept {
  float most = 0.0F;
  for (std::int64_t r = one.r0; r < one.r1; ++r) {
    for_each_run(q_.x, r, one.c0, one.c1,
                 [&](DType from, const void* row, std::int64_t, std::int64_t count) {
                   most = std::max(most, best_kernels().absmax(from, row, count, kNotFinite));
                 });
  }
  return most;
}

void Cells::store_scales(const CellStretch& s, const CellRanges& ranges,
                         CellFactors& factors) const noexcept {
  const auto count = static_cast<std::size_t>(s.count());
  std::int32_t most = 0;
  for (std::size_t j = 0; j < count; ++j) most = std::max(most, ranges.most[j]);
  const bool tame = most < kInfinite;
  if (q_.spec.azp) {
    const ScaleRule rule = scale_rule(q_.spec);
    for (std::size_t j = 0; j < count; ++j) {
      const CellScale one =
          cell_scale(rule, {0.0F, ranges.low[j], ranges.high[j], ranges.most[j] >= kInfinite});
      factors.scale[j] = one.scale;
      factors.azp[j] = one.azp;
    }
  } else {
    auto& absmax = factors.scale;  // becomes the scales
    for (std::size_t j = 0; j < count; ++j) absmax[j] = std::bit_cast<float>(ranges.most[j]);
    for (std::size_t j = 0; j < count && !tame; ++j) {
      if (ranges.most[j] < kInfinite) continue;
      absmax[j] = finite_absmax(cell(s, static_cast<std::int64_t>(j)));
    }
    symmetric_scales(q_.spec, absmax.data(), s.count(), factors.scale.data());
    const bool shows = !tame && scale_shows_non_finite(q_.spec);
    for (std::size_t j = 0; j < count && shows; ++j) {
      if (ranges.most[j] >= kInfinite) factors.scale[j] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  const MatrixView& scales = q_.scales;
  void* place = scales.at(s.i * scales.strides[0] + s.j0 * scales.strides[1]);
  store_row(scales.dtype, factors.scale.data(), s.count(), place, scales.strides[1],
            Overflow::saturate);
  if (q_.azp.defined()) {
    for (std::int64_t j = 0; j < s.count(); ++j) {
      store_int32(q_.azp.data, s.i * q_.azp.strides[0] + (s.j0 + j) * q_.azp.strides[1],
                  factors.azp[static_cast<std::size_t>(j)]);
    }
  }
  load_scales(s, factors);
  tame_factors(ranges, s.count(), factors);
}

void Cells::show_scales(const CellStretch& s, const CellRanges& ranges,
                        CellFactors& factors) const noexcept {
  load_scales(s, factors);
  tame_factors(ranges, s.count(), factors);
  const MatrixView& v = q_.shown_scales;
  for (std::int64_t j = 0; j < s.count(); ++j) {
    const auto at = static_cast<std::size_t>(j);
    const bool shown = ranges.most[at] >= kInfinite;
    store_float(v.dtype, v.data, s.i * v.strides[0] + (s.j0 + j) * v.strides[1],
                shown ? std::numeric_limits<float>::quiet_NaN() : factors.scale[at],
                Overflow::saturate);
  }
}

// Every quotient is a number below 2^20, by positive scales; below 2^9 their inverses may serve.
void Cells::tame_factors(const CellRanges& ranges, std::int64_t count,
                         CellFactors& factors) const noexcept {
  const std::uint32_t steepest = steepest_of(ranges, factors, count);
  factors.tame = steepest < std::bit_cast<std::uint32_t>(0x1p20F);
  const int ties = q_.azp.defined() ? kIntegerTieBits : tie_bits(q_.spec.dtype);
  factors.inverted = steepest < std::bit_cast<std::uint32_t>(0x1p9F) &&
                     best_kernels().invert(factors.scale.data(), count, ties,
                                           factors.inverse.data(), factors.inverse_rest.data());
}

void Cells::load_scales(const CellStretch& s, CellFactors& factors) const noexcept {
  const MatrixView& scales = q_.scales;
  const void* place = scales.at(s.i * scales.strides[0] + s.j0 * scales.strides[1]);
  load_row(scales.dtype, place, scales.strides[1], s.count(), factors.scale.data());
  factors.near = factors.wide = true;
  factors.tame = factors.inverted = false;
  if (!q_.azp.defined()) return;
  for (std::int64_t j = 0; j < s.count(); ++j) {
    const std::int64_t azp = load_int(q_.azp, s.i, s.j0 + j);
    factors.near = factors.near && std::abs(azp) < kNearAzp;
    factors.wide = factors.wide && std::abs(azp) < kWideAzp;
    factors.azp[static_cast<std::size_t>(j)] = static_cast<std::int32_t>(azp);
  }
}

// Given zero points that leave what the kernels take.
void Cells::write_far_codes(const CellStretch& s, const CellFactors& factors) const noexcept {
  for (std::int64_t r = s.r0; r < s.r1; ++r) {
    for (std::int64_t c = s.c0; c < s.c1; ++c) {
      const auto j = static_cast<std::size_t>((c - s.c0) / width_);
      const float code =
          shifted_code(q_.spec.dtype, load_float(q_.x, r, c) / factors.scale[j], factors.azp[j]);
      store_float(q_.codes.dtype, q_.codes.data, r * q_.codes.strides[0] + c * q_.codes.strides[1],
                  code, Overflow::saturate);
    }
  }
}

bool Cells::finds_ahead() const noexcept {
  return best_kernels().reads_next && q_.x.dtype == DType::bfloat16 && flat_ &&
         q_.codes.defined() && height_ == 1 && across() == 1 && !q_.spec.azp &&
         q_.errors == nullptr;
}

RowCodes Cells::codes_of(const CellFactors& factors, std::int64_t j, bool one) const noexcept {
  const auto first = static_cast<std::size_t>(j);
  const bool shifted = q_.azp.defined();
  return {.factor = factors.scale[first],
          .factors = one ? nullptr : factors.scale.data() + j,
          .azps = shifted ? factors.azp.data() + j : nullptr,
          .to = q_.spec.dtype,
          .azp = shifted ? factors.azp[first] : 0,
          .near = factors.near,
          .overflow = q_.spec.overflow,
          .shows_infinities = q_.spec.non_finite != NonFinite::ignore,
          .tame = factors.tame,
          .inverses = factors.inverted ? factors.inverse.data() + j : nullptr,
          .inverse_rests = factors.inverted ? factors.inverse_rest.data() + j : nullptr,
          .errors = q_.errors,
          .largest = qmax(q_.spec.dtype)};
}

bool Cells::are_columns() const noexcept {
  // Columns that a second-level cache does not hold beside as many others, but a third-level one
  // does.
  constexpr std::int64_t kLeastRows = 512, kMostStrip = std::int64_t{1} << 23;
  const std::int64_t strip = height_ * kStripColumns * element_bytes(q_.x.dtype);
  return width_ == 1 && height_ >= kLeastRows && strip <= kMostStrip && down() == 1 &&
         across() >= kStripColumns;
}

std::int64_t Cells::blocks_together() const noexcept {
  // Their rows are read twice, from a second-level cache or soon after they left it.
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 21;
  // Strips of narrow pieces would open a page of memory for each. They gain a third where codes
  // come from tables; others are as slow as stretches that are fetched, or slower.
  constexpr std::int64_t kLeastPiece = std::int64_t{1} << 12;
  const std::int64_t bytes = width_ * element_bytes(q_.x.dtype);
  const std::int64_t most = std::min(kMostBlocks, kMostBytes / height_ / bytes);
  if (across() <= most) return across();
  const bool tables = q_.x.dtype == DType::bfloat16 && is_float8(q_.spec.dtype);
  if (!tables || most * bytes < kLeastPiece) return 0;
  const std::int64_t strips = (across() + most - 1) / most;
  return (across() + strips - 1) / strips;
}

bool Cells::are_quick() const noexcept {
  constexpr std::int64_t kLeastWidth = 16;
  const MatrixView& scales = q_.scales;
  const bool exponents =
      scales.dtype == DType::float8_e8m0fnu && q_.spec.rounding != ScaleRounding::none;
  const bool served = width_ >= kLeastWidth &&
                      (height_ == 1 || (width_ % kLine == 0 && q_.x.shape[1] % kLine == 0 &&
                                        blocks_together() > 0));
  return flat_ && (served || are_columns()) && q_.codes.defined() && !q_.static_scales &&
         q_.x.shape[0] > 0 && q_.errors == nullptr &&
         (!q_.spec.azp || (height_ == 1 && across() == 1)) &&
         (scales.strides[1] == 1 || across() == 1) && (scales.dtype == DType::float32 || exponents);
}

void Cells::quantize_quick(const CellStretch& s, std::int64_t rows, bool streamed) const noexcept {
  // Cells that are done the other way at a time.
  const std::int64_t few = width_ == 1 ? kStripColumns : 16;
  const std::int64_t bytes = element_bytes(q_.x.dtype);
  const std::int64_t across = s.count();
  CellRows cells{.row = {.from = q_.x.dtype,
                         .source_step = q_.x.strides[0] * bytes,
                         .code_step = q_.codes.strides[0],
                         .run = width_,
                         .to = q_.spec.dtype,
                         .overflow = q_.spec.overflow,
                         .shows_infinities = q_.spec.non_finite != NonFinite::ignore,
                         .streamed = streamed && (width_ > 1 || codes_begin_lines(s.c0))},
                 .height = height_,
                 .rule = scale_rule(q_.spec),
                 .scale_step = q_.scales.strides[0] * element_bytes(q_.scales.dtype),
                 .exponents = q_.scales.dtype != DType::float32,
                 .azp_step = q_.spec.azp ? q_.azp.strides[0] : 0,
                 .first_level = fetches_first_level()};
  for (std::int64_t done = 0; done < rows * across;) {
    const std::int64_t i = s.i + done / across;
    const std::int64_t j = done % across;
    const std::int64_t c = s.c0 + j * width_;
    const std::int64_t cell_rows = j == 0 ? rows - done / across : 1;
    const std::int64_t r = i * height_;
    cells.row.source = q_.x.at(r * q_.x.strides[0] + c);
    cells.row.codes = q_.codes.at(r * q_.codes.strides[0] + c);
    cells.row.count = s.c1 - c;
    cells.row.rows = std::min(cell_rows * height_, q_.x.shape[0] - r);
    cells.scales = q_.scales.at(i * q_.scales.strides[0] + (s.j0 + j) * q_.scales.strides[1]);
    if (q_.spec.azp) cells.azps = static_cast<std::int32_t*>(q_.azp.at(i * q_.azp.strides[0]));
    const std::int64_t some = best_kernels().quantize_cells(cells);
    done += some;
    if (some == cell_rows * (across - j)) continue;
    const std::int64_t first = s.j0 + done % across;
    const CellStretch slow = stretch(s.i + done / across, first, std::min(first + few, s.j1));
    CellFactors factors;
    CellRanges ranges(slow.count());
    find(slow, ranges);
    store_scales(slow, ranges, factors);
    write_codes(slow, factors, nullptr, streamed);
    done += slow.count();
  }
}

bool Cells::are_tall() const noexcept {
  return flat_ && q_.codes.defined() && height_ > 1 && width_ % kLine == 0 && q_.errors == nullptr;
}

// Codes of rows that begin with whole lines can be streamed.
bool Cells::codes_begin_lines(std::int64_t c) const noexcept {
  return begin_lines(q_.codes.at(c), q_.codes.strides[0]);
}

void Cells::write_tall_codes(const CellStretch& s, const CellFactors& factors,
                             const CellStretch& next, bool streamed) const noexcept {
  const std::int64_t bytes = element_bytes(q_.x.dtype);
  const std::int64_t rows = s.r1 - s.r0;
  for (std::int64_t j = 0; j < s.count(); ++j) {
    const CellStretch one = cell(s, j);
    RowCodes codes = codes_of(factors, j, true);
    codes.from = q_.x.dtype;
    codes.source = q_.x.at(one.r0 * q_.x.strides[0] + one.c0);
    codes.count = one.c1 - one.c0;
    codes.rows = rows;
    codes.source_step = q_.x.strides[0] * bytes;
    codes.code_step = q_.codes.strides[0];
    codes.codes = q_.codes.at(one.r0 * q_.codes.strides[0] + one.c0);
    codes.streamed = streamed && codes_begin_lines(one.c0);
    // A stretch at the end has fewer rows or cells: nothing is fetched beyond them.
    const bool fetches = next.r1 - next.r0 >= rows && j < next.count();
    if (fetches) codes.next = q_.x.at(next.r0 * q_.x.strides[0] + next.c0 + one.c0 - s.c0);
    best_kernels().quantize(codes);
  }
}

void Cells::write_codes(const CellStretch& s, const CellFactors& factors, const CellStretch* next,
                        bool streamed, std::int32_t* next_most) const noexcept {
  if (!factors.wide) return write_far_codes(s, factors);
  if (next != nullptr && are_tall()) return write_tall_codes(s, factors, *next, streamed);
  const bool streams = are_streams(s);
  for (std::int64_t r = s.r0; r < s.r1; ++r) {
    const void* ahead = nullptr;
    if (next == nullptr && r + kRowsAhead < s.r1 && !streams) {
      ahead = q_.x.at((r + kRowsAhead) * q_.x.strides[0] + s.c0 * q_.x.strides[1]);
    } else if (next != nullptr && r - s.r0 < next->r1 - next->r0) {
      ahead = q_.x.at((next->r0 + r - s.r0) * q_.x.strides[0] + next->c0 * q_.x.strides[1]);
    }
    for_each_piece(s, r,
                   [&](DType from, const void* row, std::int64_t c, std::int64_t count,
                       std::int64_t run, std::int64_t j) {
                     RowCodes codes = codes_of(factors, j, run >= count);
                     codes.from = from;
                     codes.source = row;
                     codes.count = count;
                     codes.run = run;
                     codes.streamed = streamed;
                     codes.next = flat_ ? ahead : nullptr;
                     codes.next_most = next_most;
                     quantize_run(codes, q_.codes, r, c);
                   });
  }
}

}  // namespace octavo::cpu
