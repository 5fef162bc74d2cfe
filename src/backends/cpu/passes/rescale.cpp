// SPDX-License-Identifier: Apache-2.0
// Tiles of rows in float32, stored as they are or transposed.
#include <algorithm>
#include <cstdlib>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/passes/turn.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/scales/scale_rows.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kTileRows = 64;
// Of a tile that is stored transposed: in bfloat16 it stays in a first-level cache.
constexpr std::int64_t kSquareColumns = 256;
constexpr std::int64_t kColumns = ScaleRows::kMostColumns;

using Floats = std::array<float, static_cast<std::size_t>(kColumns)>;

// Do columns lie together, so that the transposed matrix is the one to walk?
bool walks_columns(const MatrixView& v) noexcept {
  return std::abs(v.strides[0]) < std::abs(v.strides[1]) && v.strides[0] != 0 && v.shape[0] > 1;
}

// Zero points of columns [column, column + count) from a row's elements.
void subtract(const ScaleView& azp, std::int64_t row, std::int64_t column, std::int64_t count,
              float* x) noexcept {
  for (std::int64_t j = 0; j < count;) {
    const std::int64_t cell = (azp.col0 + column + j) / azp.cols;
    const std::int64_t end = azp.cols == kWholeExtent
                                 ? count
                                 : std::min(count, (cell + 1) * azp.cols - azp.col0 - column);
    const auto zero = static_cast<double>(load_int(azp.data, (azp.row0 + row) / azp.rows, cell));
    for (; j < end; ++j) x[j] = static_cast<float>(static_cast<double>(x[j]) - zero);
  }
}

class Rescale {
 public:
  explicit Rescale(const RescaleProblem& p) noexcept : p_(p) {
    if (p_.azp.present() || !walks_columns(p_.source)) return;
    p_.source = p_.source.transposed();
    p_.out = p_.out.transposed();
    for (ScaleView& scale : p_.scales) scale = scale.transposed();
  }

  void run(const ExecContext& context) const noexcept {
    const std::int64_t rows = p_.source.shape[0];
    const std::int64_t columns = p_.source.shape[1];
    if (rows == 0 || columns == 0) return;
    const bool transposed = p_.out.strides[0] == 1 && p_.out.strides[1] != 1 && columns > 1;
    const std::int64_t width = transposed ? kSquareColumns : kColumns;
    const std::int64_t down = (rows + kTileRows - 1) / kTileRows;
    const std::int64_t across = (columns + width - 1) / width;
    const std::int64_t tiles = down * across;
    for_each_band(
        context, bands_of(context, tiles, rows * columns), tiles,
        [&](std::int64_t, std::int64_t begin, std::int64_t end) {
          for (std::int64_t t = begin; t < end; ++t) {
            const std::int64_t r0 = t / across * kTileRows;
            const std::int64_t c0 = t % across * width;
            const Tile tile{r0, std::min(rows, r0 + kTileRows), c0, std::min(columns, c0 + width)};
            transposed ? turn(tile) : pass(tile);
          }
        });
  }

 private:
  struct Tile {
    std::int64_t r0, r1, c0, c1;
    std::int64_t count() const noexcept { return c1 - c0; }
  };

  // Calls visit(row, floats) for the rows of a tile.
  template <class Visit>
  void each_row(const Tile& tile, const Visit& visit) const noexcept {
    const std::int64_t count = tile.count();
    const MatrixView& s = p_.source;
    std::array<ScaleRows, 5> scales{
        ScaleRows{p_.scales[0], tile.c0, count}, ScaleRows{p_.scales[1], tile.c0, count},
        ScaleRows{p_.scales[2], tile.c0, count}, ScaleRows{p_.scales[3], tile.c0, count},
        ScaleRows{p_.scales[4], tile.c0, count}};
    Floats x;
    for (std::int64_t i = tile.r0; i < tile.r1; ++i) {
      widen(best_kernels(), s.dtype, s.at(i * s.strides[0] + tile.c0 * s.strides[1]), s.strides[1],
            count, x.data());
      if (p_.azp.present()) subtract(p_.azp, i, tile.c0, count, x.data());
      if (p_.divisor != 1.0F) {
        for (std::int64_t j = 0; j < count; ++j) x[static_cast<std::size_t>(j)] /= p_.divisor;
      }
      for (ScaleRows& scale : scales) {
        if (scale.present()) multiply(scale, i, count, x.data());
      }
      visit(i, x.data());
    }
  }

  static void multiply(ScaleRows& scale, std::int64_t i, std::int64_t count, float* x) noexcept {
    if (!scale.uniform()) return best_kernels().multiply(scale.row(i), 1, count, x);
    const float factor = scale.factor(i);
    best_kernels().multiply(&factor, 0, count, x);
  }

  void pass(const Tile& tile) const noexcept {
    const MatrixView& o = p_.out;
    each_row(tile, [&](std::int64_t i, const float* x) {
      narrow(best_kernels(), o.dtype, x, tile.count(),
             o.at(i * o.strides[0] + tile.c0 * o.strides[1]), o.strides[1], Overflow::saturate);
    });
  }

  void turn(const Tile& tile) const noexcept {
    const MatrixView& o = p_.out;
    const std::int64_t bytes = element_bytes(o.dtype);
    alignas(64) std::array<char, static_cast<std::size_t>(kTileRows * kSquareColumns * 4)> square;
    each_row(tile, [&](std::int64_t i, const float* x) {
      best_kernels().narrow(o.dtype, x, tile.count(),
                            square.data() + (i - tile.r0) * kSquareColumns * bytes,
                            Overflow::saturate);
    });
    cpu::turn(bytes, square.data(), kSquareColumns * bytes, tile.r1 - tile.r0, tile.count(),
              o.at(tile.r0 + tile.c0 * o.strides[1]), o.strides[1] * bytes);
  }

  RescaleProblem p_;
};

}  // namespace

Status rescale(const RescaleProblem& problem, const ExecContext& context) noexcept {
  Rescale(problem).run(context);
  return {};
}

}  // namespace octavo::cpu
