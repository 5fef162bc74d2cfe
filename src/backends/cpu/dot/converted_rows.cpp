// SPDX-License-Identifier: Apache-2.0
// Rows of A that kernels cannot read in place: of another type, strided, apart, or transposed.
#include <algorithm>
#include <array>

#include "backends/cpu/dot/member.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "backends/cpu/rows.hpp"
#include "core/cpu_features.hpp"
#include "core/data/convert.hpp"
#include "core/data/element.hpp"
#include "core/data/extents.hpp"

namespace octavo::cpu {

std::int64_t converted_bytes(const DotMember& d, std::int64_t rows) noexcept {
  if (d.transposed != nullptr) {
    const std::int64_t bytes =
        saturating_sum(d.k * element_bytes(d.path.rows), kTransposedDepth - 1);
    return saturating_product(bytes / kTransposedDepth * (kTransposedDepth / kStepBytes),
                              d.step_bytes);
  }
  return d.converted ? (rows * d.row_bytes + 63) / 64 * 64 : 0;
}

namespace {

// Bytes, strided ones a piece at a time.
void widen_row(const DotMember& d, const MatrixView& from, std::int16_t* out) noexcept {
  const auto widen = d.path.integers->widen;
  const bool is_signed = from.dtype == DType::int8;
  const std::int64_t length = from.shape[1];
  if (from.strides[1] == 1) return widen(from.data, is_signed, length, out);
  std::array<std::int8_t, 256> piece;
  const auto size = static_cast<std::int64_t>(piece.size());
  for (std::int64_t k = 0; k < length; k += size) {
    const std::int64_t count = std::min(size, length - k);
    MatrixView some = from.slice(1, k, k + count);
    MatrixView to = some;
    to.data = piece.data();
    to.strides = {count, 1};
    copy_elements(some, to);
    widen(piece.data(), is_signed, count, out + k);
  }
}

// A row of A, or a part of one.
void convert_row(const DotMember& d, const MatrixView& from, void* out) noexcept {
  const std::int64_t length = from.shape[1], stride = from.strides[1];
  if (d.path.rows == DType::int16) return widen_row(d, from, static_cast<std::int16_t*>(out));
  if (from.dtype == d.path.rows) {
    MatrixView to = from;
    to.data = out;
    to.strides = {length, 1};
    return copy_elements(from, to);
  }
  if (d.path.float8 != nullptr && stride == 1) {
    return d.path.float8->decode(float8_table(from.dtype), from.data, length, out);
  }
  if (d.path.rows == DType::float32) {
    return widen(best_kernels(), from.dtype, from.data, stride, length, static_cast<float*>(out));
  }
  std::array<float, 256> piece;
  const auto size = static_cast<std::int64_t>(piece.size());
  for (std::int64_t k = 0; k < length; k += size) {
    const std::int64_t count = std::min(size, length - k);
    widen(best_kernels(), from.dtype, from.at(k * stride), stride, count, piece.data());
    narrow(best_kernels(), d.path.rows, piece.data(), count, static_cast<std::uint16_t*>(out) + k,
           1, Overflow::ieee);
  }
}

// Rows that are transposed together; those that are of another type or strided a piece at a time.
void transpose_together(const DotMember& d, const MatrixView& a, char* rows) noexcept {
  constexpr std::int64_t kPieceBytes = 16 * kTransposedDepth;
  const std::int64_t size = element_bytes(d.path.rows);
  if (a.dtype == d.path.rows && (a.strides[1] == 1 || d.k <= 1)) {
    return d.transposed->turn(a.data, a.strides[0] * size, a.shape[0], d.k * size, rows,
                              d.step_bytes);
  }
  alignas(64) std::array<char, kTransposedRows * kPieceBytes> piece;
  for (std::int64_t k = 0; k < d.k; k += kPieceBytes / size) {
    const MatrixView some = a.slice(1, k, std::min(k + kPieceBytes / size, d.k));
    for (std::int64_t r = 0; r < a.shape[0]; ++r) {
      convert_row(d, some.slice(0, r, r + 1), piece.data() + r * kPieceBytes);
    }
    d.transposed->turn(piece.data(), kPieceBytes, a.shape[0], some.shape[1] * size,
                       rows + k * size / kStepBytes * d.step_bytes, d.step_bytes);
  }
}

}  // namespace

void convert_rows(const DotMember& d, std::int64_t begin, std::int64_t end) noexcept {
  auto* rows = static_cast<char*>(const_cast<void*>(d.rows));  // NOLINT: in our workspace
  const MatrixView& a = d.p->a.data;
  if (d.transposed == nullptr) {
    for (std::int64_t r = begin; r < end; ++r) {
      convert_row(d, a.slice(0, r, r + 1), rows + r * d.row_bytes);
    }
    return;
  }
  for (std::int64_t r = transposed_rows(begin); r < end; r += kTransposedRows) {
    transpose_together(d, a.slice(0, r, std::min(r + kTransposedRows, d.m)),
                       rows + r * d.row_bytes);
  }
}

}  // namespace octavo::cpu
