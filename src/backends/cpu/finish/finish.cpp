// SPDX-License-Identifier: Apache-2.0
// Sums that lie in memory, finished as those in registers are:
//
//   for each block of 64 rows, in parallel
//     for each 64 columns: their factors; for each 16 rows: sums into a tile, the tile to the
//     output
#include "backends/cpu/finish/finish.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/finish/epilogue.hpp"
#include "backends/cpu/streams.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/data/matrix.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kBlockRows = 64;
constexpr std::int64_t kTileRows = 16;

// Rows [begin, end) of a product, for its finish.
Member rows_of(const Member& p, std::int64_t begin, std::int64_t end) noexcept {
  Member part = p;
  part.a.data.shape[0] = end - begin;
  for (ScaleView& scale : part.a.scale) {
    if (scale.kind == ScaleKind::tensor) scale = scale.shifted(begin, 0);
  }
  part.out = p.out.slice(0, begin, end);
  Epilogue& e = part.epilogue;
  e.c = e.c.from(begin, 0);
  e.bias = e.bias.from(begin, 0);
  return part;
}

bool streams(const FinishProblem& p) noexcept {
  return p.product.out.numel() * element_bytes(p.product.out.dtype) >= kStreamedBytes;
}

class Block {
 public:
  Block(const FinishProblem& p, std::int64_t begin, std::int64_t end) noexcept
      : sums_(p.sums.slice(0, begin, end)),
        part_(rows_of(p.product, begin, end)),
        arena_(memory_.data()),
        rows_(load_rows(part_, arena_)),
        finisher_(part_, p.options, rows_, streams(p)) {}

  void run() noexcept {
    const std::int64_t rows = sums_.shape[0];
    for (std::int64_t n = 0; n < sums_.shape[1]; n += kTileCols) {
      const std::int64_t count = std::min<std::int64_t>(kTileCols, sums_.shape[1] - n);
      if (part_.out.dtype == DType::int32) {
        for (std::int64_t m = 0; m < rows; ++m) exact(m, n, count);
        continue;
      }
      finisher_.set_columns(n, count);
      for (std::int64_t m = 0; m < rows; m += kTileRows) {
        tile(m, std::min(kTileRows, rows - m), n, count);
      }
    }
  }

 private:
  void tile(std::int64_t m, std::int64_t rows, std::int64_t n, std::int64_t count) noexcept {
    MatrixView to = matrix_view(tile_.data(), sums_.dtype, rows, count, {});
    to.strides[0] = kTileCols;
    copy_elements(sums_.slice(0, m, m + rows).slice(1, n, n + count), to);
    const bool integers = sums_.dtype == DType::int32;
    finisher_.finish({.m0 = m,
                      .rows = rows,
                      .floats = integers ? nullptr : reinterpret_cast<const float*>(tile_.data()),
                      .integers = integers ? tile_.data() : nullptr});
  }

  void exact(std::int64_t m, std::int64_t n, std::int64_t count) const noexcept {
    std::array<std::int64_t, kTileCols> row;
    for (std::int64_t j = 0; j < count; ++j) {
      row[static_cast<std::size_t>(j)] = load_int(sums_, m, n + j);
    }
    finish_exact_row(part_, m, n, count, row.data());
  }

  MatrixView sums_;
  Member part_;
  alignas(64) std::array<float, static_cast<std::size_t>(2 * kBlockRows)> memory_;
  Arena arena_;
  EpilogueRows rows_;
  Finisher finisher_;
  alignas(64) std::array<std::int32_t, static_cast<std::size_t>(kTileRows* kTileCols)> tile_{};
};

}  // namespace

Status finish(const FinishProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.sums.shape[0];
  const std::int64_t blocks = (rows + kBlockRows - 1) / kBlockRows;
  for_each_band(context, bands_of(context, blocks, p.sums.numel()), blocks,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t b = begin; b < end; ++b) {
                    Block(p, b * kBlockRows, std::min(rows, (b + 1) * kBlockRows)).run();
                  }
                });
  return {};
}

}  // namespace octavo::cpu
