// SPDX-License-Identifier: Apache-2.0
// Rows over their root mean square: one sweep adds the squares, the other writes.
#include <algorithm>
#include <array>
#include <cmath>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/passes/pieces.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

static_assert(kPieceColumns % kNormSums == 0);

// Elements that a row's work is worth, of each of its own: two sweeps of conversions.
constexpr std::int64_t kNormElements = 4;

// x, or x + residual, of a piece.
const float* sums_of(const RmsNormProblem& p, std::int64_t row, std::int64_t column,
                     std::int64_t count, Piece& piece, Piece& other) noexcept {
  const float* x = floats_of(p.x, row, column, count, piece);
  if (!p.residual.defined()) return x;
  if (x != piece.data()) std::copy_n(x, count, piece.data());
  const float* residual = floats_of(p.residual, row, column, count, other);
  best_kernels().add_scaled(residual, 1.0F, count, piece.data(), piece.data());
  return piece.data();
}

void write(const MatrixView& to, std::int64_t row, std::int64_t column, const float* from,
           std::int64_t count) noexcept {
  narrow(best_kernels(), to.dtype, from, count, to.at(row * to.strides[0] + column * to.strides[1]),
         to.strides[1], Overflow::saturate);
}

float factor_of(const RmsNormProblem& p, std::int64_t row, Piece& piece, Piece& other) noexcept {
  const std::int64_t columns = p.x.shape[1];
  std::array<double, static_cast<std::size_t>(kNormSums)> sums{};
  for (std::int64_t j = 0; j < columns; j += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, columns - j);
    const float* s = sums_of(p, row, j, count, piece, other);
    for (std::int64_t i = 0; i < count; i += kNormSums) {
      best_kernels().add_products(s + i, s + i, std::min(kNormSums, count - i), sums.data());
    }
  }
  for (std::size_t half = kNormSums / 2; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  const double mean = sums[0] / static_cast<double>(columns);
  return static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(p.epsilon)));
}

void norm_row(const RmsNormProblem& p, std::int64_t row) noexcept {
  Piece piece;
  Piece other;
  const float factor = factor_of(p, row, piece, other);
  const std::int64_t columns = p.x.shape[1];
  const bool rounds = p.weight.defined() && p.weight.dtype != DType::float32;
  for (std::int64_t j = 0; j < columns; j += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, columns - j);
    const float* s = sums_of(p, row, j, count, piece, other);
    if (p.residual.defined()) write(p.residual, row, j, s, count);
    if (s != piece.data()) std::copy_n(s, count, piece.data());
    best_kernels().multiply(&factor, 0, count, piece.data());
    if (rounds) {
      std::array<std::uint16_t, static_cast<std::size_t>(kPieceColumns)> rounded;
      best_kernels().narrow(p.weight.dtype, piece.data(), count, rounded.data(),
                            Overflow::saturate);
      best_kernels().widen(p.weight.dtype, rounded.data(), count, piece.data());
    }
    if (p.weight.defined()) {
      best_kernels().multiply(floats_of(p.weight, 0, j, count, other), 1, count, piece.data());
    }
    write(p.out, row, j, piece.data(), count);
  }
}

}  // namespace

Status rms_norm(const RmsNormProblem& problem, const ExecContext& context) noexcept {
  const std::int64_t rows = problem.x.shape[0];
  const std::int64_t bands = bands_of(context, rows, rows * problem.x.shape[1] * kNormElements);
  for_each_band(context, bands, rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) noexcept {
                  for (std::int64_t r = begin; r < end; ++r) norm_row(problem, r);
                });
  return {};
}

}  // namespace octavo::cpu
