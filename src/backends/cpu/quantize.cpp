// SPDX-License-Identifier: Apache-2.0
// Quantisers over pieces of rows: widen, reduce, divide, convert; parallel over bands of cells.
#include "backends/cpu/quantize.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>

#include "core/cells.hpp"
#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/parallel.hpp"
#include "core/quantize_rules.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kPiece = 512;  // elements that are widened at a time
using Piece = std::array<float, kPiece>;

float magnitude(float x) noexcept {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFU);
}
// x, or +0 for a NaN or an infinity.
float finite_or_zero(float x) noexcept { return magnitude(x) < 0x1p128 ? x : 0.0F; }

void load_piece(const TensorView& x, std::int64_t r, std::int64_t c, std::int64_t n,
                Piece& piece) noexcept {
  load_row(x.dtype, x.at(r * x.strides[0] + c * x.strides[1]), x.strides[1], n, piece.data());
}

void extend(CellRange& range, const float* x, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) {
    const float v = finite_or_zero(x[i]);
    range.absmax = std::max(range.absmax, magnitude(v));
    range.min = std::min(range.min, v);
    range.max = std::max(range.max, v);
  }
}

// Calls visit(row, column, count) for the pieces of rows [r0, r1) x columns [c0, c1).
template <class Visit>
void for_each_piece(std::int64_t r0, std::int64_t r1, std::int64_t c0, std::int64_t c1,
                    const Visit& visit) noexcept {
  for (std::int64_t r = r0; r < r1; ++r) {
    for (std::int64_t c = c0; c < c1; c += kPiece) visit(r, c, std::min(kPiece, c1 - c));
  }
}

struct Cell {
  std::int64_t i, j, r0, r1, c0, c1;
};

void find_scale(const QuantizeProblem& q, const Cell& cell) noexcept {
  CellRange range;
  Piece piece;
  for_each_piece(cell.r0, cell.r1, cell.c0, cell.c1,
                 [&](std::int64_t r, std::int64_t c, std::int64_t n) {
                   load_piece(q.x, r, c, n, piece);
                   extend(range, piece.data(), n);
                 });
  const CellScale s = cell_scale(q.spec, range);
  store_float(q.scales.dtype, q.scales.data,
              cell.i * q.scales.strides[0] + cell.j * q.scales.strides[1], s.scale,
              Overflow::saturate);
  if (q.azp.defined()) {
    store_int32(q.azp.data, cell.i * q.azp.strides[0] + cell.j * q.azp.strides[1], s.azp);
  }
}

void write_codes(const QuantizeProblem& q, const Cell& cell) noexcept {
  const float scale = load_float(q.scales, cell.i, cell.j);
  const std::int64_t azp = q.azp.defined() ? load_int(q.azp, cell.i, cell.j) : 0;
  Piece piece;
  for_each_piece(
      cell.r0, cell.r1, cell.c0, cell.c1, [&](std::int64_t r, std::int64_t c, std::int64_t n) {
        load_piece(q.x, r, c, n, piece);
        float* x = piece.data();
        for (std::int64_t i = 0; i < n; ++i) x[i] /= scale;
        for (std::int64_t i = 0; i < n && q.azp.defined(); ++i) {
          x[i] = shifted_code(q.spec.dtype, x[i], azp);
        }
        store_row(q.codes.dtype, x, n, q.codes.at(r * q.codes.strides[0] + c * q.codes.strides[1]),
                  q.codes.strides[1], q.spec.overflow);
      });
}

// The problem of the transposed matrix.
QuantizeProblem transposed(const QuantizeProblem& q) noexcept {
  QuantizeProblem t = q;
  t.x = q.x.transposed();
  t.codes = q.codes.transposed();
  t.scales = q.scales.transposed();
  t.azp = q.azp.transposed();
  std::swap(t.grid.rows, t.grid.cols);
  return t;
}

struct VectorRow {
  const VectorwiseProblem& q;

  bool outlier(float v) const noexcept { return q.threshold > 0.0F && magnitude(v) >= q.threshold; }
  bool outlier_column(std::int64_t c) const noexcept {
    return q.column_flags != nullptr && q.column_flags[c] != 0;
  }

  void flag_columns(std::int64_t r) const noexcept {
    Piece piece;
    for_each_piece(r, r + 1, 0, q.x.shape[1], [&](std::int64_t, std::int64_t c, std::int64_t n) {
      load_piece(q.x, r, c, n, piece);
      for (std::int64_t i = 0; i < n; ++i) {
        if (!outlier(piece[static_cast<std::size_t>(i)])) continue;
        std::atomic_ref<std::uint8_t>(q.column_flags[c + i]).store(1, std::memory_order_relaxed);
      }
    });
  }

  float absmax(std::int64_t r) const noexcept {
    float most = 0.0F;
    Piece piece;
    for_each_piece(r, r + 1, 0, q.x.shape[1], [&](std::int64_t, std::int64_t c, std::int64_t n) {
      load_piece(q.x, r, c, n, piece);
      const float limit = q.threshold > 0.0F ? q.threshold : 0x1p127F * 2.0F;
      for (std::int64_t i = 0; i < n; ++i) {
        const float v = magnitude(finite_or_zero(piece[static_cast<std::size_t>(i)]));
        const bool skip = v >= limit || (q.whole_columns && outlier_column(c + i));
        most = std::max(most, skip ? 0.0F : v);
      }
    });
    return most;
  }

  void write_codes(std::int64_t r, float factor) const noexcept {
    Piece piece;
    for_each_piece(r, r + 1, 0, q.x.shape[1], [&](std::int64_t, std::int64_t c, std::int64_t n) {
      load_piece(q.x, r, c, n, piece);
      for (std::int64_t i = 0; i < n; ++i) {
        float& v = piece[static_cast<std::size_t>(i)];
        const bool zero = outlier(v) || outlier_column(c + i);
        const float code = v * factor;
        v = zero ? 0.0F : std::min(std::max(code, -127.0F), 127.0F);
        if (code != code) v = 0.0F;
      }
      store_row(DType::int8, piece.data(), n,
                q.codes.at(r * q.codes.strides[0] + c * q.codes.strides[1]), q.codes.strides[1],
                Overflow::saturate);
    });
  }
};

}  // namespace

Status quantize(const QuantizeProblem& problem, const ExecContext& context) noexcept {
  const bool columns_together =
      std::abs(problem.x.strides[0]) < std::abs(problem.x.strides[1]) && problem.x.shape[0] > 1;
  const QuantizeProblem q = columns_together ? transposed(problem) : problem;
  const std::int64_t rows = q.x.shape[0];
  const std::int64_t cols = q.x.shape[1];
  const std::int64_t across = q.scales.shape[1];
  const auto cell_of = [&](std::int64_t i, std::int64_t j) -> Cell {
    return {i,
            j,
            i == 0 ? 0 : cell_end(rows, q.grid.rows, i - 1),
            cell_end(rows, q.grid.rows, i),
            j == 0 ? 0 : cell_end(cols, q.grid.cols, j - 1),
            cell_end(cols, q.grid.cols, j)};
  };
  parallel_for(context, q.scales.shape[0], [&](std::int64_t i) {
    for (std::int64_t j = 0; j < across; ++j) {
      const Cell cell = cell_of(i, j);
      if (!q.static_scales) find_scale(q, cell);
      if (q.codes.defined()) write_codes(q, cell);
    }
  });
  return {};
}

Status vectorwise(const VectorwiseProblem& q, const ExecContext& context) noexcept {
  const std::int64_t rows = q.x.shape[0];
  const std::int64_t cols = q.x.shape[1];
  const VectorRow row{q};
  if (q.column_flags != nullptr) {
    std::memset(q.column_flags, 0, static_cast<std::size_t>(cols));
    parallel_for(context, rows, [&](std::int64_t r) { row.flag_columns(r); });
    *q.column_count = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      if (q.column_flags[c] != 0) q.columns[(*q.column_count)++] = c;
    }
  }
  parallel_for(context, rows, [&](std::int64_t r) {
    const float absmax = row.absmax(r);
    store_float(DType::float32, q.absmax.data, r * q.absmax.strides[0], absmax, Overflow::saturate);
    row.write_codes(r, vectorwise_factor(absmax));
  });
  return {};
}

}  // namespace octavo::cpu
