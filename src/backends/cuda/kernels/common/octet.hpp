// SPDX-License-Identifier: Apache-2.0
// Eight neighbours of a matrix's row at a time: 16 bytes of 16-bit elements, two times 16 of
// float32, 8 of codes. Where a row's end, its strides or its alignment do not allow that, they are
// read and written one by one.
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"

namespace octavo::cuda {

constexpr int kOctet = 8;

struct alignas(16) Words4 {
  std::uint32_t word[4];
};
/// Eight codes, the first in the lowest byte.
struct alignas(8) Words2 {
  std::uint32_t word[2];
};

/// a / b of numbers that are not negative, in 32 bits where they fit.
OCTAVO_HOST_DEVICE constexpr std::int64_t quotient_of(std::int64_t a, std::int64_t b) {
  if ((static_cast<std::uint64_t>(a | b) >> 32) != 0) return a / b;
  return std::int64_t{static_cast<std::uint32_t>(a) / static_cast<std::uint32_t>(b)};
}
OCTAVO_HOST_DEVICE constexpr std::int64_t octets_of(std::int64_t columns) {
  return (columns + (kOctet - 1)) / kOctet;
}

/// Whether octets of a view's rows are whole words: their columns are multiples of eight.
inline bool has_words(const MatrixView& view, std::int64_t bytes_of_octet) {
  const std::int64_t alignment = bytes_of_octet < 16 ? bytes_of_octet : 16;
  const bool rows =
      view.shape[0] <= 1 || view.strides[0] * (bytes_of_octet / kOctet) % alignment == 0;
  return view.defined() && (view.strides[1] == 1 || view.shape[1] <= 1) && rows &&
         reinterpret_cast<std::uintptr_t>(view.data) % static_cast<std::uintptr_t>(alignment) == 0;
}

/// Eight elements that are whole words, from an offset on.
template <class Machine>
OCTAVO_DEVICE void load_words(Machine& m, const Elements& x, std::int64_t offset,
                              float (&value)[kOctet]) {
  if (x.dtype == DType::float32) {
    const float* from = static_cast<const float*>(x.data) + offset;
    OCTAVO_UNROLL
    for (int half = 0; half < 2; ++half) {
      const Words4 bits = m.load_global(reinterpret_cast<const Words4*>(from) + half);
      OCTAVO_UNROLL
      for (int e = 0; e < 4; ++e) value[half * 4 + e] = std::bit_cast<float>(bits.word[e]);
    }
    return;
  }
  const std::uint16_t* from = static_cast<const std::uint16_t*>(x.data) + offset;
  const Words4 bits = m.load_global(reinterpret_cast<const Words4*>(from));
  if (x.dtype == DType::bfloat16) {
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e)
      value[e] = widened_bf16(bits.word[e / 2] >> (e % 2 * 16) & 0xFFFFU);
  } else {
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e)
      value[e] = widened_f16(bits.word[e / 2] >> (e % 2 * 16) & 0xFFFFU);
  }
}

/// The first eight of the elements [column, column + count) of a row; those that are not there
/// become 0. `words`: those are whole words where there are eight.
template <class Machine>
OCTAVO_DEVICE void load_octet(Machine& m, const MatrixView& x, bool words, std::int64_t row,
                              std::int64_t column, std::int64_t count, float (&value)[kOctet]) {
  const std::int64_t offset = row * x.strides[0] + column * x.strides[1];
  if (words && count >= kOctet) return load_words(m, x, offset, value);
  OCTAVO_UNROLL
  for (int e = 0; e < kOctet; ++e)
    value[e] = e < count ? read_wide(m, x.dtype, x.data, offset + e * x.strides[1]) : 0.0F;
}

/// Codes of a row to [column, column + count), as load_octet reads.
template <class Machine>
OCTAVO_DEVICE void store_octet(Machine& m, const MatrixView& codes, bool words, std::int64_t row,
                               std::int64_t column, std::int64_t count, const Words2& octet) {
  std::uint8_t* to =
      static_cast<std::uint8_t*>(codes.data) + row * codes.strides[0] + column * codes.strides[1];
  if (words && count >= kOctet) return m.store_global(reinterpret_cast<Words2*>(to), octet);
  OCTAVO_UNROLL
  for (int e = 0; e < kOctet; ++e) {
    if (e < count) {
      m.store_global(to + e * codes.strides[1],
                     static_cast<std::uint8_t>(octet.word[e / 4] >> (e % 4 * 8)));
    }
  }
}

}  // namespace octavo::cuda
