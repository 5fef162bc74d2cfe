// SPDX-License-Identifier: Apache-2.0
// The plain kernels of int8 in AVX-512: which one takes what.
//
// Included inside an instruction-set region after an integer `Dot`, dot_tile-inl.hpp and
// transpose_avx512-inl.hpp; every including file gets its own copy.
#include "backends/cpu/kernels/plain_columns-inl.hpp"

#include "backends/cpu/kernels/plain_along-inl.hpp"
#include "backends/cpu/kernels/plain_rows-inl.hpp"

// Four rows of 64 bytes.
struct ByteLines {
  static constexpr int kRows = 4, kVectors = 4;
  static constexpr bool kOrdered = false;
  static constexpr int kMostRows = 8;
  static void join(const Dot& dot, const char* b, std::int64_t ldb, Dot::Right (&out)[4]) {
    const __m512i row0 = _mm512_loadu_si512(b);
    const __m512i row1 = _mm512_loadu_si512(b + ldb);
    const __m512i row2 = _mm512_loadu_si512(b + 2 * ldb);
    const __m512i row3 = _mm512_loadu_si512(b + 3 * ldb);
    const __m512i low01 = _mm512_unpacklo_epi8(row0, row1);
    const __m512i high01 = _mm512_unpackhi_epi8(row0, row1);
    const __m512i low23 = _mm512_unpacklo_epi8(row2, row3);
    const __m512i high23 = _mm512_unpackhi_epi8(row2, row3);
    out[0] = Dot::right<0>(dot.load(_mm512_unpacklo_epi16(low01, low23)));
    out[1] = Dot::right<0>(dot.load(_mm512_unpackhi_epi16(low01, low23)));
    out[2] = Dot::right<0>(dot.load(_mm512_unpacklo_epi16(high01, high23)));
    out[3] = Dot::right<0>(dot.load(_mm512_unpackhi_epi16(high01, high23)));
  }
};

octavo::cpu::PlainKernel find_plain(const octavo::cpu::PlainWanted& wanted) noexcept {
  if (wanted.order == octavo::cpu::PlainOrder::along_n) {
    return find_plain_rows<ByteLines>(wanted.rows);
  }
  return wanted.group > 0 ? find_plain_columns<WordSource>(wanted) : find_plain_along(wanted.rows);
}
