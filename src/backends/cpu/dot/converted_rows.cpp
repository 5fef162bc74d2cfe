// SPDX-License-Identifier: Apache-2.0
// Rows of A that kernels cannot read where they lie: of another type, strided, apart, or turned.
#include <algorithm>
#include <array>

#include "backends/cpu/dot/member.hpp"
#include "backends/cpu/rows.hpp"
#include "core/convert.hpp"
#include "core/cpu_features.hpp"
#include "core/element.hpp"
#include "core/extents.hpp"

namespace octavo::cpu {

std::int64_t converted_bytes(const DotMember& d, std::int64_t rows) noexcept {
  if (d.turned != nullptr) {
    const std::int64_t bytes = saturating_sum(d.k * element_bytes(d.path.rows), kTurnedDepth - 1);
    return saturating_product(bytes / kTurnedDepth * (kTurnedDepth / kStepBytes), d.step_bytes);
  }
  return d.converted ? (rows * d.row_bytes + 63) / 64 * 64 : 0;
}

namespace {

// Bytes, strided ones a piece at a time.
void widen_row(const DotMember& d, const MatrixView& from, std::int16_t* out) noexcept {
  const auto widen = d.path.integers->widen;
  const bool is_signed = from.dtype == DType::int8;
  if (from.strides[1] == 1) return widen(from.data, is_signed, d.k, out);
  std::array<std::int8_t, 256> piece;
  const auto size = static_cast<std::int64_t>(piece.size());
  for (std::int64_t k = 0; k < d.k; k += size) {
    const std::int64_t count = std::min(size, d.k - k);
    MatrixView some = from.slice(1, k, k + count);
    MatrixView to = some;
    to.data = piece.data();
    to.strides = {count, 1};
    copy_elements(some, to);
    widen(piece.data(), is_signed, count, out + k);
  }
}

void convert_row(const DotMember& d, std::int64_t row, void* out) noexcept {
  const MatrixView& a = d.p->a.data;
  const MatrixView from = a.slice(0, row, row + 1);
  if (d.path.rows == DType::int16) return widen_row(d, from, static_cast<std::int16_t*>(out));
  if (a.dtype == d.path.rows) {
    MatrixView to = from;
    to.data = out;
    to.strides = {d.k, 1};
    return copy_elements(from, to);
  }
  if (d.path.float8 != nullptr && a.strides[1] == 1) {
    return d.path.float8->decode(float8_table(a.dtype), from.data, d.k, out);
  }
  if (d.path.rows == DType::float32) {
    return widen(best_kernels(), a.dtype, from.data, a.strides[1], d.k, static_cast<float*>(out));
  }
  std::array<float, 256> piece;
  const auto size = static_cast<std::int64_t>(piece.size());
  for (std::int64_t k = 0; k < d.k; k += size) {
    const std::int64_t count = std::min(size, d.k - k);
    widen(best_kernels(), a.dtype, from.at(k * a.strides[1]), a.strides[1], count, piece.data());
    narrow(best_kernels(), d.path.rows, piece.data(), count, static_cast<std::uint16_t*>(out) + k,
           1, Overflow::ieee);
  }
}

void turn(const DotMember& d, std::int64_t begin, std::int64_t end, char* rows) noexcept {
  const MatrixView& a = d.p->a.data;
  const std::int64_t size = element_bytes(d.path.rows);
  for (std::int64_t r = turned_rows(begin); r < end; r += kTurnedRows) {
    d.turned->turn(a.at(r * a.strides[0]), a.strides[0] * size, std::min(kTurnedRows, d.m - r),
                   d.k * size, rows + r * d.row_bytes, d.step_bytes);
  }
}

}  // namespace

void convert_rows(const DotMember& d, std::int64_t begin, std::int64_t end) noexcept {
  auto* rows = static_cast<char*>(const_cast<void*>(d.rows));  // NOLINT: in our workspace
  if (d.turned != nullptr) return turn(d, begin, end, rows);
  for (std::int64_t r = begin; r < end; ++r) convert_row(d, r, rows + r * d.row_bytes);
}

}  // namespace octavo::cpu
