// SPDX-License-Identifier: Apache-2.0
// fp8 weights by vdpbf16ps, looked up in tables on their way into the tile: two registers for the
// high bytes of bfloat16, one and a place in memory for the low ones, one for the sign. With them
// 24 accumulators and what is being decoded fit 32 registers in 12 rows by 2 vectors.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{0, 12, 0, 5};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,avx512bf16")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/float_dot-inl.hpp"

// The bytes of 64 codes as bfloat16.
struct Bytes {
  __m512i low, high;
};
struct Decoder {
  explicit Decoder(const Float8Table& t)
      : low0(_mm512_load_si512(t.low.data())),
        high0(_mm512_load_si512(t.high.data())),
        high1(_mm512_load_si512(t.high.data() + 64)),
        sign(_mm512_set1_epi8(static_cast<char>(0x80))),
        low1(t.low.data() + 64) {}
  Bytes decode(__m512i codes) const {
    constexpr int kOrAnd = 0xF8;  // a | (b & c)
    const __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
    const std::uint8_t* place = low1;
    __asm__ volatile("" : "+r"(place));  // or it would be kept in a register that is not there
    return {_mm512_permutex2var_epi8(low0, codes, _mm512_load_si512(place)),
            _mm512_ternarylogic_epi64(high, codes, sign, kOrAnd)};
  }
  __m512i low0, high0, high1, sign;
  const std::uint8_t* low1;
};

struct Dot : FloatDot {
  static constexpr int kLoadVectors = 2;
  using Loaded = Bytes;
  explicit Dot(const DotTile& t) : FloatDot(t), decoder(*t.table) {}
  Loaded load(__m512i codes) const { return decoder.decode(codes); }
  template <int half>
  static Right right(const Loaded& b) {
    return half == 0 ? _mm512_unpacklo_epi8(b.low, b.high) : _mm512_unpackhi_epi8(b.low, b.high);
  }
  static Sum add(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  Decoder decoder;
};
#include "backends/cpu/kernels/dot_tile-inl.hpp"

// Writes NaN over some numbers.
inline Bytes with_nan(Bytes bytes, __mmask64 nan) {
  return {_mm512_mask_blend_epi8(nan, bytes.low, _mm512_set1_epi8(static_cast<char>(0xC0))),
          _mm512_mask_blend_epi8(nan, bytes.high, _mm512_set1_epi8(0x7F))};
}

// 64 codes in their order.
inline void decode_step(const Decoder& decoder, __m512i codes, __mmask64 nan, __m512i& front,
                        __m512i& back) {
  const Bytes bytes = with_nan(decoder.decode(codes), nan);
  const __m512i even = _mm512_unpacklo_epi8(bytes.low, bytes.high);
  const __m512i odd = _mm512_unpackhi_epi8(bytes.low, bytes.high);
  const __m512i lower = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
  const __m512i upper = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  front = _mm512_permutex2var_epi64(even, lower, odd);
  back = _mm512_permutex2var_epi64(even, upper, odd);
}

#include "backends/cpu/kernels/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/pack-inl.hpp"

#include "backends/cpu/kernels/plain_columns-inl.hpp"
#include "backends/cpu/kernels/plain_rows-inl.hpp"

// Of codes 0x80 that are NaN.
struct NanSource : WordSource {
  static Bytes load(const Dot& dot, __m512i codes) {
    return with_nan(dot.load(codes), _mm512_cmpeq_epi8_mask(codes, dot.decoder.sign));
  }
};

// Two rows of 64 codes.
template <class Codes>
struct CodeLines {
  static constexpr int kRows = 2, kVectors = 4, kBytes = 64;
  static constexpr bool kOrdered = false;
  struct Joined {
    Bytes low, high;
  };
  static OCTAVO_INLINE Joined load(const Dot& dot, const char* b, std::int64_t ldb) {
    const __m512i row0 = _mm512_loadu_si512(b);
    const __m512i row1 = _mm512_loadu_si512(b + ldb);
    return {Codes::load(dot, _mm512_unpacklo_epi8(row0, row1)),
            Codes::load(dot, _mm512_unpackhi_epi8(row0, row1))};
  }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, const Joined& x) {
    return Dot::right<v % 2>(v < 2 ? x.low : x.high);
  }
};

template <class Codes>
PlainKernel find_codes(const PlainWanted& wanted) noexcept {
  return wanted.order == PlainOrder::along_k
             ? find_plain_columns<Codes>(wanted)
             : find_plain_rows<AnyRows<CodeLines<Codes>, 16>>(wanted.rows);
}

PlainKernel find_plain(const PlainWanted& wanted) noexcept {
  if (!is_float8(wanted.weight)) return nullptr;
  return float8_table(wanted.weight).negative_zero_is_nan ? find_codes<NanSource>(wanted)
                                                          : find_codes<WordSource>(wanted);
}

void decode_codes(const Float8Table& table, const void* codes, std::int64_t count,
                  void* out) noexcept {
  const Decoder decoder(table);
  const __m512i negative_zero = _mm512_set1_epi8(static_cast<char>(0x80));
  const __mmask64 meaning_nan = table.negative_zero_is_nan ? ~__mmask64{0} : __mmask64{0};
  const char* from = static_cast<const char*>(codes);
  char* to = static_cast<char*>(out);
  for (; count > 0; count -= 64, from += 64, to += 128) {
    const __mmask64 some = count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
    const __m512i part = _mm512_maskz_loadu_epi8(some, from);
    const __mmask64 nan = _mm512_mask_cmpeq_epi8_mask(meaning_nan, part, negative_zero);
    __m512i front;
    __m512i back;
    decode_step(decoder, part, nan, front, back);
    _mm512_mask_storeu_epi16(to, static_cast<__mmask32>(some), front);
    _mm512_mask_storeu_epi16(to + 64, static_cast<__mmask32>(some >> 32), back);
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
  explicit CodePairs(const Float8Table& table) : decoder(table) {}
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
  Decoder decoder;
};

void pack_pairs(const PackPiece& p) noexcept {
  if (p.table->negative_zero_is_nan) return pack_piece(p, CodePairs<true>(*p.table));
  pack_piece(p, CodePairs<false>(*p.table));
}

struct CodeOrder {
  explicit CodeOrder(const Float8Table& t)
      : nan(t.negative_zero_is_nan ? ~__mmask64{0} : __mmask64{0}),
        last(_mm512_set1_epi8(static_cast<char>(t.last_finite))) {}
  OCTAVO_INLINE __mmask64 others_in(__m512i codes) const {
    const __m512i magnitudes = _mm512_and_si512(codes, _mm512_set1_epi8(0x7F));
    const __m512i negative_zero = _mm512_set1_epi8(static_cast<char>(0x80));
    return _mm512_cmpgt_epi8_mask(magnitudes, last) |
           _mm512_mask_cmpeq_epi8_mask(nan, codes, negative_zero);
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
  __mmask64 nan;
  __m512i last;
  __mmask64 others = 0;
};

#include "backends/cpu/kernels/pack_float8-inl.hpp"

void pack(const PackPiece& p) noexcept { pack_float8<CodeOrder>(p); }
void unpack(const UnpackPiece& p) noexcept { unpack_float8<CodeOrder>(p); }
OCTAVO_ISA_END

}  // namespace

extern const Float8Kernels kAvx512Float8Dot{
    {"5x64 tile, fp8 by table, AVX-512 BF16, float32 sums in ascending k",
     "few rows, fp8 by table, AVX-512 BF16, float32 sums in ascending k", kFloat8Form, kMaxRows,
     &find_dot_tile, &pack, nullptr, nullptr, nullptr, &find_plain},
    DType::bfloat16,
    &decode_codes,
    &pack_pairs,
    &unpack,
};

}  // namespace octavo::cpu
#endif
