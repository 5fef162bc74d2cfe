// SPDX-License-Identifier: Apache-2.0
// bfloat16 by vdpbf16ps: two products a lane and step. The instruction takes subnormal operands and
// sums for zero and rounds to nearest even whatever the environment says.
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
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{8, 12, 4, 6};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512bf16")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/float_dot-inl.hpp"
struct Dot : FloatDot {
  explicit Dot(const DotTile& t) : FloatDot(t) {}
  static Sum add(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"

#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack-inl.hpp"

#include "backends/cpu/kernels/panels/bf16_panels_avx512-inl.hpp"

#include "backends/cpu/kernels/unpacked/columns-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// Four bytes of a column in a word: numbers of 8 bits, whose bits lie in the upper half of a
// float32.
struct PairsOfBytes {
  __m512i first, second;
};
struct Int8Source {
  static constexpr int kSteps = 2, kPairedRows = 2;
  using Transposed = TransposedSquare<32>;
  static __m512i pair(__m512i first, __m512i second) {
    constexpr __mmask32 kUpper = 0xAAAAAAAA;
    const __m512i lower = _mm512_castps_si512(_mm512_cvtepi32_ps(first));
    const __m512i upper = _mm512_castps_si512(_mm512_cvtepi32_ps(second));
    return _mm512_mask_mov_epi16(_mm512_srli_epi32(lower, 16), kUpper, upper);
  }
  static PairsOfBytes load(const Dot&, __m512i word) {
    return {pair(_mm512_srai_epi32(_mm512_slli_epi32(word, 24), 24),
                 _mm512_srai_epi32(_mm512_slli_epi32(word, 16), 24)),
            pair(_mm512_srai_epi32(_mm512_slli_epi32(word, 8), 24), _mm512_srai_epi32(word, 24))};
  }
  template <int i>
  static __m512i step(const Dot&, const PairsOfBytes& pairs) {
    return i == 0 ? pairs.first : pairs.second;
  }
};

struct TwoLines {
  __m512i first, second;
};

// Two rows of 32 bfloat16.
struct PairLines {
  static constexpr int kRows = 2, kVectors = 2, kBytes = 64;
  static constexpr bool kOrdered = false;
  static OCTAVO_INLINE TwoLines load(const Dot&, const char* b, std::int64_t ldb) {
    return {Vec::load_unaligned_ints(b), Vec::load_unaligned_ints(b + ldb)};
  }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, const TwoLines& x) {
    return v == 0 ? _mm512_unpacklo_epi16(x.first, x.second)
                  : _mm512_unpackhi_epi16(x.first, x.second);
  }
};

// Two rows of 64 int8.
struct Int8Lines {
  static constexpr int kRows = 2, kVectors = 4, kBytes = 64;
  static constexpr bool kOrdered = false;
  static __m512i pair(__m512i bytes) {  // the lower two of every word
    return Int8Source::pair(_mm512_srai_epi32(_mm512_slli_epi32(bytes, 24), 24),
                            _mm512_srai_epi32(_mm512_slli_epi32(bytes, 16), 24));
  }
  static OCTAVO_INLINE TwoLines load(const Dot&, const char* b, std::int64_t ldb) {
    const __m512i row0 = Vec::load_unaligned_ints(b);
    const __m512i row1 = Vec::load_unaligned_ints(b + ldb);
    return {_mm512_unpacklo_epi8(row0, row1), _mm512_unpackhi_epi8(row0, row1)};
  }
  template <int v>
  static OCTAVO_INLINE __m512i step(const Dot&, const TwoLines& x) {
    const __m512i half = v < 2 ? x.first : x.second;
    return pair(v % 2 == 0 ? _mm512_unpacklo_epi16(half, half) : _mm512_unpackhi_epi16(half, half));
  }
};

struct PairSource : WordSource {
  static constexpr std::int64_t kMostInParts = 128;
};

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  const bool along_k = wanted.order == UnpackedOrder::along_k;
  switch (wanted.weight) {
    case DType::bfloat16:
      return along_k ? find_unpacked_columns<PairSource>(wanted)
                     : find_unpacked_rows<AnyRows<PairLines, 16, 8>>(wanted.rows);
    case DType::int8:
      return along_k ? find_unpacked_columns<Int8Source>(wanted)
                     : find_unpacked_rows<AnyRows<Int8Lines, 8>>(wanted.rows);
    default:
      return nullptr;
  }
}
OCTAVO_ISA_END

}  // namespace

extern const DotKernels kAvx512Bf16Dot{
    .how = "6x64 tile, AVX-512 BF16, float32 sums in ascending k",
    .how_unpacked = "parts of up to 16 rows, AVX-512 BF16, float32 sums in ascending k",
    .form = kBf16Form,
    .max_rows = kMaxRows,
    .tile = &find_dot_tile,
    .pack = &pack_bf16,
    .pack_rows = &pack_rows,
    .decode_int8 = &decode_int8,
    .decode_float8 = &decode_float8,
    .unpacked = &find_unpacked,
};

}  // namespace octavo::cpu
#endif
