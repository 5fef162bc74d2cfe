// SPDX-License-Identifier: Apache-2.0
// Section 8 for a matrix whose columns lie together: lines of memory hold one element of each row.
//
// Panels of rows, line by line: a panel's maxima stay in the first-level cache, its elements in the
// second-level cache until their codes are made. Codes that are wanted row by row are transposed by
// blocks of bytes, whole lines at a time.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "backends/cpu/passes/turn.hpp"
#include "backends/cpu/passes/vectorwise.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "core/data/element.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kMostPanelRows = 512;
constexpr std::int64_t kBlock = 64;  // lines to transpose, and what panels are multiples of
constexpr std::int64_t kTransposedRows = 256;  // whose codes wait for it: 16 KB

using Codes = std::array<std::uint8_t, static_cast<std::size_t>(kBlock* kTransposedRows)>;

class ColumnWalk {
 public:
  ColumnWalk(const VectorwiseCall& call, const VectorwisePass& pass) noexcept
      : q_(call.q),
        call_(call),
        pass_(pass),
        lines_(q_.x.shape[1]),
        bytes_(element_bytes(q_.x.dtype)) {}

  // Rows [r0, r0 + count).
  void panel(std::int64_t r0, std::int64_t count) const noexcept {
    alignas(64) std::array<std::int32_t, static_cast<std::size_t>(kMostPanelRows)> most{};
    alignas(64) std::array<float, static_cast<std::size_t>(kMostPanelRows)> factors;
    scan(r0, count, most.data());
    for (const std::int64_t c : pass_.left_out) {
      for (std::int64_t i = 0; i < count; ++i) {
        if (std::isnan(load_float(q_.x, r0 + i, c))) most[static_cast<std::size_t>(i)] = kNanBits;
      }
    }
    if (!pass_.rows) return;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const float absmax = call_.store_absmax(r0 + i, std::bit_cast<float>(most[at]));
      factors[at] = call_.is_zero_row(r0 + i) ? 0.0F : vectorwise_factor(absmax);
    }
    if (!q_.codes.defined()) return;
    if (q_.codes.strides[0] == 1) {
      for (std::int64_t c = 0; c < lines_; ++c) {
        write_line(c, r0, count, factors.data(), codes_at(r0, c));
      }
    } else {
      for (std::int64_t i = 0; i < count; i += kTransposedRows) {
        write_transposed(r0 + i, std::min(kTransposedRows, count - i), factors.data() + i);
      }
    }
    for (const std::int64_t c : pass_.left_out) {
      for (std::int64_t i = 0; i < count; ++i) *codes_at(r0 + i, c) = 0;
    }
  }

 private:
  const void* line_at(std::int64_t c, std::int64_t r) const noexcept {
    return q_.x.at(r + c * q_.x.strides[1]);
  }
  std::uint8_t* codes_at(std::int64_t r, std::int64_t c) const noexcept {
    return static_cast<std::uint8_t*>(q_.codes.data) + r * q_.codes.strides[0] +
           c * q_.codes.strides[1];
  }

  void scan(std::int64_t r0, std::int64_t count, std::int32_t* most) const noexcept {
    for_each_kept(pass_.left_out, lines_, [&](std::int64_t c0, std::int64_t c1) {
      best_kernels().scan_lines({.from = q_.x.dtype,
                                 .source = line_at(c0, r0),
                                 .line_bytes = q_.x.strides[1] * bytes_,
                                 .lines = c1 - c0,
                                 .count = count,
                                 .limit = call_.limit,
                                 .most = most,
                                 .flags = pass_.finds ? q_.column_flags + c0 : nullptr});
    });
  }

  void write_line(std::int64_t c, std::int64_t r0, std::int64_t count, const float* factors,
                  std::uint8_t* codes) const noexcept {
    best_kernels().quantize({.from = q_.x.dtype,
                             .source = line_at(c, r0),
                             .count = count,
                             .factors = factors,
                             .codes = codes,
                             .vectorwise = true,
                             .limit = call_.limit});
  }

  void write_transposed(std::int64_t r0, std::int64_t count, const float* factors) const noexcept {
    alignas(64) Codes codes;
    for (std::int64_t c = 0; c < lines_; c += kBlock) {
      const std::int64_t lines = std::min(kBlock, lines_ - c);
      for (std::int64_t i = 0; i < lines; ++i) {
        write_line(c + i, r0, count, factors, codes.data() + i * kTransposedRows);
      }
      turn(1, codes.data(), kTransposedRows, lines, count, codes_at(r0, c), q_.codes.strides[0]);
    }
  }

  const VectorwiseProblem& q_;
  const VectorwiseCall& call_;
  const VectorwisePass& pass_;
  const std::int64_t lines_, bytes_;
};

}  // namespace

bool walks_columns(const VectorwiseProblem& q) noexcept {
  const bool together = q.x.strides[0] == 1 && q.x.strides[1] != 1 && q.x.shape[0] > 1;
  return together && (!q.codes.defined() || q.codes.strides[0] == 1 || q.codes.strides[1] == 1);
}

void walk_columns(const VectorwiseCall& call, const VectorwisePass& pass) noexcept {
  const std::int64_t rows = call.q.x.shape[0];
  const std::int64_t workers = bands_of(call.context, rows, rows * call.q.x.shape[1]);
  const std::int64_t share = (rows + workers - 1) / workers;
  const std::int64_t panel =
      std::clamp((share + kBlock - 1) / kBlock * kBlock, kBlock, kMostPanelRows);
  const std::int64_t panels = (rows + panel - 1) / panel;
  const ColumnWalk all(call, pass);
  for_each_band(call.context, std::min(workers, panels), panels,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t p = begin; p < end; ++p) {
                    all.panel(p * panel, std::min(panel, rows - p * panel));
                  }
                });
}

}  // namespace octavo::cpu
