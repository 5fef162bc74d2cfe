// SPDX-License-Identifier: Apache-2.0
// Rows in pieces that stay in a first-level cache, by all threads.
#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/row_kernels.hpp"

#include <algorithm>
#include <array>

#include "backends/cpu/passes/pieces.hpp"
#include "backends/cpu/rows.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

// A silu costs about as much as moving so many elements.
constexpr std::int64_t kSiluElements = 4;

// `ahead`: the bytes from this row of x to one that is read soon.
void silu_row(const SiluProblem& p, std::int64_t row, std::int64_t ahead) noexcept {
  const MatrixView& out = p.out;
  const std::int64_t inner = out.shape[1];
  const bool in_place = whole_floats(out, out.at(row * out.strides[0]));
  Piece gates;
  Piece ups;
  for (std::int64_t i = 0; i < inner; i += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, inner - i);
    void* to = out.at(row * out.strides[0] + i * out.strides[1]);
    const float* gate = floats_of(p.x, row, i, count, gates);
    const float* up = floats_of(p.x, row, inner + i, count, ups);
    float* products = in_place ? static_cast<float*>(to) : gates.data();
    best_kernels().silu_and_mul(gate, up, count, products, gate == gates.data() ? 0 : ahead);
    if (in_place) continue;
    narrow(best_kernels(), out.dtype, products, count, to, out.strides[1], p.overflow);
  }
}

void silu_vjp_row(const SiluVjpProblem& p, std::int64_t row) noexcept {
  const MatrixView& to = p.grad_x;
  const std::int64_t inner = p.grad.shape[1];
  const bool in_place = whole_floats(to, to.at(row * to.strides[0]));
  Piece grads;
  Piece gates;
  Piece ups;
  std::array<Piece, 2> made;
  for (std::int64_t i = 0; i < inner; i += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, inner - i);
    const auto out = [&](std::int64_t half) {
      return to.at(row * to.strides[0] + (half * inner + i) * to.strides[1]);
    };
    const auto target = [&](std::int64_t half) {
      return in_place ? static_cast<float*>(out(half))
                      : made[static_cast<std::size_t>(half)].data();
    };
    best_kernels().silu_and_mul_vjp(
        floats_of(p.grad, row, i, count, grads), floats_of(p.x, row, i, count, gates),
        floats_of(p.x, row, inner + i, count, ups), count, target(0), target(1));
    for (std::int64_t half = 0; half < 2 && !in_place; ++half) {
      narrow(best_kernels(), to.dtype, target(half), count, out(half), to.strides[1],
             Overflow::ieee);
    }
  }
}

void combine_row(const CombineProblem& p, std::int64_t m) noexcept {
  const MatrixView& out = p.out;
  const std::int64_t columns = out.shape[1];
  const std::int64_t routes = out.shape[0] * p.slots;
  const auto row_of = [&](std::int64_t route) {
    const std::int64_t place = route < routes ? p.places[route] : -1;
    return place < 0 ? nullptr : static_cast<const float*>(p.rows.at(place * p.rows.strides[0]));
  };
  Piece sums;
  for (std::int64_t j = 0; j < columns; j += kPieceColumns) {
    const std::int64_t count = std::min(kPieceColumns, columns - j);
    std::fill_n(sums.data(), count, 0.0F);
    for (std::int64_t t = m * p.slots; t < (m + 1) * p.slots; ++t) {
      const float* row = row_of(t);
      if (row == nullptr) continue;
      const float* next = row_of(t + 1);
      const float factor = p.factors != nullptr ? p.factors[t] : 1.0F;
      best_kernels().add_scaled(row + j, factor, count, sums.data(),
                                next != nullptr ? next + j : sums.data());
    }
    narrow(best_kernels(), out.dtype, sums.data(), count,
           out.at(m * out.strides[0] + j * out.strides[1]), out.strides[1], p.overflow);
  }
}

}  // namespace

Status silu_and_mul(const SiluProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.out.shape[0];
  const std::int64_t work = rows * p.out.shape[1] * kSiluElements;
  const std::int64_t ahead = p.x.strides[0] * element_bytes(p.x.dtype);
  for_each_band(context, bands_of(context, rows, work), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t r = begin; r < end; ++r) silu_row(p, r, ahead);
                });
  return {};
}

Status silu_and_mul_vjp(const SiluVjpProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.grad.shape[0];
  const std::int64_t work = rows * p.grad.shape[1] * 2 * kSiluElements;
  for_each_band(context, bands_of(context, rows, work), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t r = begin; r < end; ++r) silu_vjp_row(p, r);
                });
  return {};
}

Status combine(const CombineProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.out.shape[0];
  const std::int64_t work = rows * p.out.shape[1] * std::max<std::int64_t>(p.slots, 1);
  for_each_band(context, bands_of(context, rows, work), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t m = begin; m < end; ++m) combine_row(p, m);
                });
  return {};
}

}  // namespace octavo::cpu
