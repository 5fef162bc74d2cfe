// SPDX-License-Identifier: Apache-2.0
// Rotated rows (section 6), in pieces that stay in a first-level cache.
#include <algorithm>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/passes/pieces.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

static_assert(kPieceColumns % 256 == 0, "pieces are whole blocks");

// Elements that a row's work is worth, of each of its own.
constexpr std::int64_t kRotateElements = 4;

void rotate_row(const RotateProblem& p, std::int64_t row) noexcept {
  const std::int64_t columns = p.x.shape[1];
  const Kernels& kernels = best_kernels();
  Piece piece;
  for (std::int64_t j = 0; j < columns; j += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, columns - j);
    void* to = p.out.at(row * p.out.strides[0] + j * p.out.strides[1]);
    const bool in_place = whole_floats(p.out, to);
    float* floats = in_place ? static_cast<float*>(to) : piece.data();
    const void* from = p.x.at(row * p.x.strides[0] + j * p.x.strides[1]);
    DType dtype = p.x.dtype;
    if (p.x.strides[1] != 1) {
      widen(kernels, dtype, from, p.x.strides[1], count, piece.data());
      from = piece.data();
      dtype = DType::float32;
    }
    kernels.rotate(dtype, from, count, p.block, floats);
    if (in_place) continue;
    narrow(kernels, p.out.dtype, floats, count, to, p.out.strides[1], Overflow::saturate);
  }
}

}  // namespace

Status rotate(const RotateProblem& problem, const ExecContext& context) noexcept {
  const std::int64_t rows = problem.x.shape[0];
  const std::int64_t bands = bands_of(context, rows, rows * problem.x.shape[1] * kRotateElements);
  for_each_band(context, bands, rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) noexcept {
                  for (std::int64_t r = begin; r < end; ++r) rotate_row(problem, r);
                });
  return {};
}

}  // namespace octavo::cpu
