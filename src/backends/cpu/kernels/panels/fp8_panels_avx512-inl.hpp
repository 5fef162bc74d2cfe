// SPDX-License-Identifier: Apache-2.0
// fp8 codes by table: rows and weights of them as bfloat16, and weights in their own form.
//
// For regions with AVX-512 BW and VBMI.
//
// Needs: Bytes, eights_in_turns, Float8Bytes, interleaved, NumberLines, pack_piece, SameElements,
//        turn, Vec
// Gives: CodePairs, decode_codes, NanCodes, numbers_of, pack_fp8, pack_fp8_pairs, unpack_fp8,
//        with_nan

// Writes NaN over some numbers.
inline Bytes with_nan(Bytes bytes, __mmask64 nan) {
  return {_mm512_mask_blend_epi8(nan, bytes.low, _mm512_set1_epi8(static_cast<char>(0xC0))),
          _mm512_mask_blend_epi8(nan, bytes.high, _mm512_set1_epi8(0x7F))};
}

// Which of 64 codes are a 0x80 that is NaN.
struct NanCodes {
  explicit NanCodes(const octavo::cpu::Float8Table& table)
      : meant(table.negative_zero_is_nan ? ~__mmask64{0} : __mmask64{0}) {}
  OCTAVO_INLINE __mmask64 in(__m512i codes) const {
    const __m512i negative_zero = _mm512_set1_epi8(static_cast<char>(0x80));
    return _mm512_mask_cmpeq_epi8_mask(meant, codes, negative_zero);
  }
  __mmask64 meant;
};

// 64 codes in their order.
inline NumberLines numbers_of(const Float8Bytes& decoder, const NanCodes& nan, __m512i codes) {
  const __m512i eights = eights_in_turns(codes);
  return interleaved(with_nan(decoder.decode(eights), nan.in(eights)));
}

void decode_codes(const octavo::cpu::Float8Table& table, const void* codes, std::int64_t count,
                  void* out) noexcept {
  const Float8Bytes decoder(table);
  const NanCodes nan(table);
  const char* from = static_cast<const char*>(codes);
  char* to = static_cast<char*>(out);
  for (; count > 0; count -= 64, from += 64, to += 128) {
    const __mmask64 some = count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
    const __m512i part = _mm512_maskz_loadu_epi8(some, from);
    const NumberLines numbers = numbers_of(decoder, nan, part);
    _mm512_mask_storeu_epi16(to, static_cast<__mmask32>(some), numbers.front);
    _mm512_mask_storeu_epi16(to + 64, static_cast<__mmask32>(some >> 32), numbers.back);
  }
}

// In each 128 bits the first two codes of its four columns, then the last two.
OCTAVO_INLINE __m512i pairs_together(__m512i quads) {
  const __m512i order = _mm512_set4_epi32(0x0F0E0B0A, 0x07060302, 0x0D0C0908, 0x05040100);
  return _mm512_shuffle_epi8(quads, order);
}

// Four codes of 16 columns as pairs of bfloat16.
template <bool has_nan>
struct CodePairs {
  static constexpr std::int64_t kSize = 1, kRows = 2;
  static constexpr bool kSums = false;
  explicit CodePairs(const octavo::cpu::Float8Table& table) : decoder(table) {}
  OCTAVO_INLINE void put(char* out, std::int64_t row_bytes, __m512i codes) const {
    const __m512i pairs = pairs_together(codes);
    Bytes bytes = decoder.decode(pairs);
    if constexpr (has_nan) {
      const __m512i negative_zero = _mm512_set1_epi8(static_cast<char>(0x80));
      bytes = with_nan(bytes, _mm512_cmpeq_epi8_mask(pairs, negative_zero));
    }
    _mm512_store_si512(out, _mm512_unpacklo_epi8(bytes.low, bytes.high));
    _mm512_store_si512(out + row_bytes, _mm512_unpackhi_epi8(bytes.low, bytes.high));
  }
  Float8Bytes decoder;
};

void pack_fp8_pairs(const octavo::cpu::PackPiece& p) noexcept {
  if (p.table->negative_zero_is_nan) return pack_piece(p, CodePairs<true>(*p.table));
  pack_piece(p, CodePairs<false>(*p.table));
}

struct CodeOrder {
  explicit CodeOrder(const octavo::cpu::Float8Table& t)
      : nan(t), last(_mm512_set1_epi8(static_cast<char>(t.last_finite))) {}
  OCTAVO_INLINE __mmask64 others_in(__m512i codes) const {
    const __m512i magnitudes = _mm512_and_si512(codes, _mm512_set1_epi8(0x7F));
    return _mm512_cmpgt_epi8_mask(magnitudes, last) | nan.in(codes);
  }
  OCTAVO_INLINE void look(__m512i even, __m512i odd) { others |= others_in(even) | others_in(odd); }
  OCTAVO_INLINE bool found() const { return others != 0; }
  static OCTAVO_INLINE __m512i first(__m512i even, __m512i odd) {
    return _mm512_unpacklo_epi64(pairs_together(even), pairs_together(odd));
  }
  static OCTAVO_INLINE __m512i second(__m512i even, __m512i odd) {
    return _mm512_unpackhi_epi64(pairs_together(even), pairs_together(odd));
  }
  template <int v>
  static OCTAVO_INLINE __m512i columns(__m512i first, __m512i second) {
    const __m512i order = _mm512_set4_epi32(0x0F0E0706, 0x0D0C0504, 0x0B0A0302, 0x09080100);
    return _mm512_shuffle_epi8(
        v == 0 ? _mm512_unpacklo_epi64(first, second) : _mm512_unpackhi_epi64(first, second),
        order);
  }
  NanCodes nan;
  __m512i last;
  __mmask64 others = 0;
};

#include "backends/cpu/kernels/panels/pack_float8-inl.hpp"

void pack_fp8(const octavo::cpu::PackPiece& p) noexcept { pack_float8<CodeOrder>(p); }
void unpack_fp8(const octavo::cpu::UnpackPiece& p) noexcept { unpack_float8<CodeOrder>(p); }
