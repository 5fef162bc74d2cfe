// SPDX-License-Identifier: Apache-2.0
// Quantisers over pieces of rows: widen, reduce, divide, convert; parallel over bands of cells.
#include "backends/cpu/quantize.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "backends/cpu/rows.hpp"
#include "core/cells.hpp"
#include "core/element.hpp"
#include "core/parallel.hpp"
#include "core/quantize_rules.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kPiece = 512;  // elements that are widened at a time
using Piece = std::array<float, kPiece>;

void load_piece(const TensorView& x, std::int64_t r, std::int64_t c, std::int64_t n,
                Piece& piece) noexcept {
  widen(best_kernels(), x.dtype, x.at(r * x.strides[0] + c * x.strides[1]), x.strides[1], n,
        piece.data());
}

void store_piece(const Piece& piece, std::int64_t n, const TensorView& codes, std::int64_t r,
                 std::int64_t c, Overflow overflow) noexcept {
  narrow(best_kernels(), codes.dtype, piece.data(), n,
         codes.at(r * codes.strides[0] + c * codes.strides[1]), codes.strides[1], overflow);
}

// Only zero points need the two ends.
void extend(const QuantizeSpec& spec, const Piece& piece, std::int64_t n,
            CellRange& range) noexcept {
  range.absmax = std::max(range.absmax, best_kernels().absmax(piece.data(), n, kFiniteOnly));
  for (std::int64_t i = 0; i < n && spec.azp; ++i) {
    const float v = piece[static_cast<std::size_t>(i)];
    if (!std::isfinite(v)) continue;
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
                   extend(q.spec, piece, n, range);
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
  for_each_piece(cell.r0, cell.r1, cell.c0, cell.c1,
                 [&](std::int64_t r, std::int64_t c, std::int64_t n) {
                   load_piece(q.x, r, c, n, piece);
                   float* x = piece.data();
                   best_kernels().divide(x, n, scale);
                   for (std::int64_t i = 0; i < n && q.azp.defined(); ++i) {
                     x[i] = shifted_code(q.spec.dtype, x[i], azp);
                   }
                   store_piece(piece, n, q.codes, r, c, q.spec.overflow);
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

// Rows of LLM.int8: elements of magnitude `limit` (as bits) and more are outliers.
struct VectorRow {
  const VectorwiseProblem& q;
  std::uint32_t limit;
  bool columns_flagged = false;  // some column is an outlier column

  static std::uint32_t limit_of(float threshold) noexcept {
    return threshold > 0.0F ? std::bit_cast<std::uint32_t>(threshold) : kAllButNaN;
  }

  template <class Visit>
  void for_each_piece_of(std::int64_t r, const Visit& visit) const noexcept {
    Piece piece;
    for_each_piece(r, r + 1, 0, q.x.shape[1], [&](std::int64_t, std::int64_t c, std::int64_t n) {
      load_piece(q.x, r, c, n, piece);
      visit(piece, c, n);
    });
  }

  void flag_columns(std::int64_t r) const noexcept {
    for_each_piece_of(r, [&](const Piece& piece, std::int64_t c, std::int64_t n) {
      const float most = best_kernels().absmax(piece.data(), n, kAllButNaN);
      if (std::bit_cast<std::uint32_t>(most) < limit) return;
      for (std::int64_t i = 0; i < n; ++i) {
        if (!(std::abs(piece[static_cast<std::size_t>(i)]) >= q.threshold)) continue;
        std::atomic_ref<std::uint8_t>(q.column_flags[c + i]).store(1, std::memory_order_relaxed);
      }
    });
  }

  float absmax(std::int64_t r) const noexcept {
    float most = 0.0F;
    for_each_piece_of(r, [&](Piece& piece, std::int64_t c, std::int64_t n) {
      if (q.whole_columns) zero_flagged(piece, c, n);
      most = std::max(most, best_kernels().absmax(piece.data(), n, std::min(limit, kFiniteOnly)));
    });
    return most;
  }

  // NaN rounds to code 0 when it is narrowed.
  void write_codes(std::int64_t r, float factor) const noexcept {
    for_each_piece_of(r, [&](Piece& piece, std::int64_t c, std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        float& v = piece[static_cast<std::size_t>(i)];
        const bool outlier = (std::bit_cast<std::uint32_t>(v) & 0x7FFFFFFFU) >= limit;
        float code = v * factor;
        code = code < -127.0F ? -127.0F : code;
        code = code > 127.0F ? 127.0F : code;
        v = outlier ? 0.0F : code;
      }
      zero_flagged(piece, c, n);
      store_piece(piece, n, q.codes, r, c, Overflow::saturate);
    });
  }

  void zero_flagged(Piece& piece, std::int64_t c, std::int64_t n) const noexcept {
    if (!columns_flagged) return;
    for (std::int64_t i = 0; i < n; ++i) {
      if (q.column_flags[c + i] != 0) piece[static_cast<std::size_t>(i)] = 0.0F;
    }
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
  VectorRow row{q, VectorRow::limit_of(q.threshold)};
  if (q.column_flags != nullptr) {
    std::memset(q.column_flags, 0, static_cast<std::size_t>(cols));
    parallel_for(context, rows, [&](std::int64_t r) { row.flag_columns(r); });
    *q.column_count = 0;
    for (std::int64_t c = 0; c < cols; ++c) {
      if (q.column_flags[c] != 0) q.columns[(*q.column_count)++] = c;
    }
    row.columns_flagged = *q.column_count > 0;
  }
  parallel_for(context, rows, [&](std::int64_t r) {
    const float absmax = row.absmax(r);
    store_float(DType::float32, q.absmax.data, r * q.absmax.strides[0], absmax, Overflow::saturate);
    row.write_codes(r, vectorwise_factor(absmax));
  });
  return {};
}

}  // namespace octavo::cpu
