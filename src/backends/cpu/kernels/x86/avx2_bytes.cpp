// SPDX-License-Identifier: Apache-2.0
// int8 on AVX2, of few rows: a step of four bytes of B becomes two of words inside the tile, so
// that a weight passes once, as it is packed, or in place.
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

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{4, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/tile/words_dot-inl.hpp"

struct Dot : WordsDot {
  static constexpr int kSteps = 2;
  explicit Dot(const DotTile&) {}
  // g++ 12 would add the products of both words first, and keep all of them for it.
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    Sum more = WordsDot::add(sum, a, b);
    Vec::keep(more);
    return more;
  }
  using Part = Vec::Ints;
  template <int step>
  static OCTAVO_INLINE Part part(const Loaded& bytes) {
    return widened_pairs<step>(bytes);
  }
  template <int>
  static OCTAVO_INLINE const Right& right(const Part& words) {
    return words;
  }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"
#include "backends/cpu/kernels/panels/widen_rows-inl.hpp"

#include "backends/cpu/kernels/unpacked/along_sums_avx2-inl.hpp"
#include "backends/cpu/kernels/unpacked/columns-inl.hpp"

// Sixteen bytes as words.
struct Along : AlongSums {
  static constexpr std::int64_t kBytes = 16;
  static OCTAVO_INLINE __m256i load(const Dot&, const char* b) { return widened(b); }
  static OCTAVO_INLINE __m256i one(const Dot&) { return _mm256_set1_epi16(1); }
  static OCTAVO_INLINE Sum add(Sum sum, __m256i a, __m256i b) {
    Sum more = _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
    __asm__("" : "+x"(more));  // as in Dot
    return more;
  }
  static OCTAVO_INLINE __m256i widened(const char* b) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(b)));
  }
};
#include "backends/cpu/kernels/unpacked/along-inl.hpp"
#include "backends/cpu/kernels/unpacked/rows-inl.hpp"

// A word of a column is two steps.
struct BytesSource {
  static constexpr int kSteps = Dot::kSteps;
  using Transposed = TransposedSquare<32>;
  static OCTAVO_INLINE Vec::Ints load(const Dot&, const Vec::Ints& bytes) { return bytes; }
  template <int i>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Vec::Ints& bytes) {
    return widened_pairs<i>(bytes);
  }
};

// Two rows, 16 bytes of each for a vector.
template <int vectors>
struct ByteLines {
  static constexpr int kRows = 2, kVectors = vectors, kBytes = 16 * vectors;
  static constexpr bool kOrdered = false;
  using Look = Unseen;
  struct Rows {
    const char *first, *second;
  };
  static OCTAVO_INLINE Rows load(const Dot&, const char* b, std::int64_t ldb) {
    return {b, b + ldb};
  }
  template <int v>
  static OCTAVO_INLINE Vec::Ints step(const Dot&, const Rows& rows) {
    const __m256i first = Along::widened(rows.first + 16 * v);
    const __m256i second = Along::widened(rows.second + 16 * v);
    return {_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)};
  }
};

UnpackedKernel find_unpacked(const UnpackedWanted& wanted) noexcept {
  if (wanted.order == UnpackedOrder::along_n) {
    return find_unpacked_rows<FewerVectors<ByteLines, 4, 8>>(wanted.rows);
  }
  return wanted.group > 0 ? find_unpacked_columns<BytesSource>(wanted)
                          : find_unpacked_along(wanted.rows);
}
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvx2BytesDot{
    .dot =
        {
            .how = "1x64 tile, AVX2 (vpmaddwd), exact int32 sums",
            .how_unpacked = "few rows, AVX2 (vpmaddwd), exact int32 sums",
            .form = kInt8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_codes,
            .unpacked = &find_unpacked,
            .width = kWidth,
        },
    .rows = ARows::words,
    .unpack = &unpack_piece,
    .widen = &widen_rows,
};

}  // namespace octavo::cpu
#endif
