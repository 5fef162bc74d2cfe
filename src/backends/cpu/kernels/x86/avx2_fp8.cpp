// SPDX-License-Identifier: Apache-2.0
// fp8 by float32 on AVX2, of a few rows: codes become floats inside the tile, so that a weight
// passes as it is packed, or in place. Tiles take finite codes only: a panel that holds
// another is decoded ahead.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {

extern const DotKernels kAvx2Float8CodesDot;

namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{0, 2, 0, 1};
constexpr std::int64_t kWidth = 2;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/float8_codes_avx2-inl.hpp"
#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

// A step of B is two of A: pairs of codes, the first of them in the lower bytes.
struct Dot : FloatDot {
  static constexpr int kLoadVectors = 2;
  static constexpr int kSteps = 2;
  using Right = Vec::Floats;
  explicit Dot(const DotTile& t) : FloatDot(t), codes(*t.table) {}
  static OCTAVO_INLINE Loaded load(const Vec::Ints& pairs) { return pairs; }
  using Part = Vec::Ints;
  template <int step>
  OCTAVO_INLINE Part part(const Loaded& pairs) const {
    return {codes.words(FiniteCodes::upper<step>(pairs.low)),
            codes.words(FiniteCodes::upper<step>(pairs.high))};
  }
  template <int half>
  OCTAVO_INLINE Right right(const Part& words) const {
    const auto floats = [&](__m256i x) {
      const __m256i zero = _mm256_setzero_si256();
      return codes.floats(half == 0 ? _mm256_unpacklo_epi16(zero, x)
                                    : _mm256_unpackhi_epi16(zero, x));
    };
    return {floats(words.low), floats(words.high)};
  }
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    Sum more = Vec::fused(Vec::as_floats(a), b, sum);
#if defined(__clang__)
    __asm__ volatile("" : "+x"(more.low), "+x"(more.high));  // as FiniteCodes::hidden
#endif
    return more;
  }
  FiniteCodes codes;
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

// In each 128 bits the first two codes of their four columns, then the last two; and back.
OCTAVO_INLINE __m256i pairs_together(__m256i quads) {
  const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15, 0, 1,
                                         4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_shuffle_epi8(quads, order);
}
OCTAVO_INLINE __m256i quads_together(__m256i pairs) {
  const __m256i order = _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1,
                                         8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
  return _mm256_shuffle_epi8(pairs, order);
}

struct CodeOrder : OtherCodes {
  explicit CodeOrder(const Float8Table& t) : OtherCodes(t) {}
  OCTAVO_INLINE void look(const Vec::Ints& even, const Vec::Ints& odd) {
    for (const __m256i codes : {even.low, even.high, odd.low, odd.high}) OtherCodes::look(codes);
  }
  static OCTAVO_INLINE Vec::Ints first(const Vec::Ints& even, const Vec::Ints& odd) {
    return {_mm256_unpacklo_epi64(pairs_together(even.low), pairs_together(odd.low)),
            _mm256_unpacklo_epi64(pairs_together(even.high), pairs_together(odd.high))};
  }
  static OCTAVO_INLINE Vec::Ints second(const Vec::Ints& even, const Vec::Ints& odd) {
    return {_mm256_unpackhi_epi64(pairs_together(even.low), pairs_together(odd.low)),
            _mm256_unpackhi_epi64(pairs_together(even.high), pairs_together(odd.high))};
  }
  template <int v>
  static OCTAVO_INLINE Vec::Ints columns(const Vec::Ints& first, const Vec::Ints& second) {
    const auto both = [&](__m256i a, __m256i b) {
      return quads_together(v == 0 ? _mm256_unpacklo_epi64(a, b) : _mm256_unpackhi_epi64(a, b));
    };
    return {both(first.low, second.low), both(first.high, second.high)};
  }
};

#include "backends/cpu/kernels/panels/pack_float8-inl.hpp"

void pack(const PackPiece& p) noexcept { pack_float8<CodeOrder>(p); }
void unpack(const UnpackPiece& p) noexcept { unpack_float8<CodeOrder>(p); }

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/parts-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Four codes of a column in a word: four steps.
template <class Codes>
struct CodeSource {
  static constexpr int kSteps = 4;
  static constexpr int kLightRows = 0;
  // Upper bytes of words: codes 0 and 2, codes 1 and 3.
  struct Word {
    Vec::Ints even, odd;
  };
  static OCTAVO_INLINE Word load(const Dot& dot, const Vec::Ints& word) {
    const Codes codes(*dot.codes.table);
    return {
        {codes.words(_mm256_slli_epi16(word.low, 8)), codes.words(_mm256_slli_epi16(word.high, 8))},
        {codes.words(word.low), codes.words(word.high)}};
  }
  template <int i>
  static OCTAVO_INLINE Vec::Floats step(const Dot& dot, const Word& word) {
    const __m256i upper = _mm256_set1_epi32(-0x10000);
    const auto floats = [&](__m256i x) {
      return dot.codes.floats(i < 2 ? _mm256_slli_epi32(x, 16) : _mm256_and_si256(x, upper));
    };
    const Vec::Ints& x = i % 2 == 0 ? word.even : word.odd;
    return {floats(x.low), floats(x.high)};
  }
};
struct SeenCodes : OtherCodes {
  explicit OCTAVO_INLINE SeenCodes(const Dot& dot) : OtherCodes(*dot.codes.table) {}
  using OtherCodes::look;
  OCTAVO_INLINE void look(const Vec::Ints& codes) {
    look(codes.low);
    look(codes.high);
  }
  OCTAVO_INLINE bool usual() const { return !found(); }
};
struct FiniteSource : CodeSource<FiniteCodes> {
  using Transposed = TransposedSquare<32, SeenCodes>;
  using Other = CodeSource<AllCodes>;
};

// A row of 16 codes for each vector.
template <class Codes, int vectors>
struct CodeLines {
  static constexpr int kRows = 1, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = false;
  static OCTAVO_INLINE const char* load(const Dot&, const char* b, std::int64_t) { return b; }
  template <int v>
  static OCTAVO_INLINE Vec::Floats step(const Dot& dot, const char* b) {
    const Codes codes(*dot.codes.table);
    const auto* at = reinterpret_cast<const __m128i*>(b + 16 * v);
    const __m256i zero = _mm256_setzero_si256();
    const __m256i words =
        codes.words(_mm256_slli_epi16(_mm256_cvtepu8_epi16(_mm_loadu_si128(at)), 8));
    return {codes.floats(_mm256_unpacklo_epi16(zero, words)),
            codes.floats(_mm256_unpackhi_epi16(zero, words))};
  }
};
template <int vectors>
struct FiniteLines : CodeLines<FiniteCodes, vectors> {
  using Look = SeenCodes;
  using Other = CodeLines<AllCodes, vectors>;
};

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  if (!is_float8(wanted.weight)) return nullptr;
  return wanted.order == UnpackedOrder::along_k
             ? find_unpacked_transposed<FiniteSource>(wanted)
             : find_unpacked_rows<FewerVectors<FiniteLines, 4, 16>>(wanted.rows);
}
OCTAVO_ISA_END

}  // namespace

extern const Float8Kernels kAvx2Float8Dot{
    .dot =
        {
            .how = "1x64 tile, fp8 by a shift, AVX2 FMA, float32 sums in ascending k",
            .how_unpacked = "few rows, fp8 by a shift, AVX2 FMA, float32 sums in ascending k",
            .form = kFloat8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack,
            .unpacked = &find_unpacked,
            .width = kWidth,
        },
    .rows = DType::float32,
    .unpack = &unpack,
    .most_rows = 4,
    .finite_only = true,
    .of_codes = &kAvx2Float8CodesDot,
};

}  // namespace octavo::cpu
#endif
