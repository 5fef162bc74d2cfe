// SPDX-License-Identifier: Apache-2.0
// fp8 by float32 on AVX2, of one row: codes become floats inside the tile, so that a weight passes
// once, as it is packed. Finite codes only: a panel that holds another is decoded ahead.
#include <immintrin.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{0, 1, 0, 1};
constexpr std::int64_t kWidth = 2;

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/float8_codes_avx2-inl.hpp"
#include "backends/cpu/kernels/float_dot-inl.hpp"

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
    const auto upper = [&](__m256i x) { return step == 0 ? _mm256_slli_epi16(x, 8) : x; };
    return {codes.words(upper(pairs.low)), codes.words(upper(pairs.high))};
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
#include "backends/cpu/kernels/dot_tile-inl.hpp"
#include "backends/cpu/kernels/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/pack-inl.hpp"

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

// Whether there are codes that are no finite numbers.
struct OtherCodes {
  explicit OtherCodes(const Float8Table& t)
      : looked_at(_mm256_set1_epi8(static_cast<char>(t.negative_zero_is_nan ? 0xFF : 0x7F))),
        turned(_mm256_set1_epi8(static_cast<char>(t.negative_zero_is_nan ? 0xFF : 0))),
        last(_mm256_set1_epi8(static_cast<char>(t.negative_zero_is_nan ? 0x7E : t.last_finite))) {}
  OCTAVO_INLINE __m256i in(__m256i codes) const {
    return _mm256_cmpgt_epi8(_mm256_xor_si256(_mm256_and_si256(codes, looked_at), turned), last);
  }
  __m256i looked_at, turned, last;
};

// Codes in the form of int8, a few squares at a time, and their order in a step of 32 columns.
void pack(const PackPiece& p) noexcept {
  constexpr std::int64_t kDepth = 256;
  const std::int64_t vectors = (p.columns + 31) / 32 * 2;
  alignas(64) char quads[kDepth / 4 * kPanelVectors * 64];
  PackPiece part = p;
  part.panel = quads;
  char* out = static_cast<char*>(p.panel);
  const OtherCodes other(*p.table);
  __m256i found = _mm256_setzero_si256();
  for (std::int64_t k = 0; k < p.depth; k += kDepth) {
    const auto at = [&](std::int64_t row) {
      return static_cast<const char*>(p.b) + row * p.stride_k;
    };
    const bool last = p.depth - k <= kDepth;
    part.b = at(k);
    part.depth = last ? p.depth - k : kDepth;
    part.next = last ? p.next : at(k + kDepth);
    pack_piece(part, SameElements<1, false>());
    const std::int64_t given = (p.columns + 15) / 16;
    const char* from = quads;
    for (std::int64_t step = 0; step < (part.depth + 1) / 2; step += 2) {
      const bool whole = step + 1 < (part.depth + 1) / 2;
      for (std::int64_t v = 0; v < vectors; v += 2, out += 64) {
        const Vec::Ints even = Vec::load_ints(from + v * 64);
        const Vec::Ints odd =
            v + 1 < given ? Vec::load_ints(from + (v + 1) * 64) : Vec::zero_ints();
        for (const __m256i codes : {even.low, even.high, odd.low, odd.high}) {
          found = _mm256_or_si256(found, other.in(codes));
        }
        const Vec::Ints x{pairs_together(even.low), pairs_together(even.high)};
        const Vec::Ints y{pairs_together(odd.low), pairs_together(odd.high)};
        Vec::store(out, Vec::Ints{_mm256_unpacklo_epi64(x.low, y.low),
                                  _mm256_unpacklo_epi64(x.high, y.high)});
        if (!whole) continue;
        Vec::store(out + vectors * 32, Vec::Ints{_mm256_unpackhi_epi64(x.low, y.low),
                                                 _mm256_unpackhi_epi64(x.high, y.high)});
      }
      from += given * 64;
      if (whole) out += vectors * 32;
    }
  }
  if (p.not_finite != nullptr && _mm256_movemask_epi8(found) != 0) *p.not_finite = true;
}

void unpack(const UnpackPiece& p) noexcept {
  for (std::int64_t square = 0; square < p.squares; ++square) {
    for (std::int64_t v = 0; v < 2; ++v) {
      const char* from = static_cast<const char*>(p.panel) + square * 32 * p.step_bytes;
      Vec::Ints m[16];
      for (Vec::Ints& codes : m) {
        const Vec::Ints first = Vec::load_ints(from);
        const Vec::Ints second = Vec::load_ints(from + p.step_bytes);
        from += 2 * p.step_bytes;
        const auto both = [&](__m256i a, __m256i b) {
          return quads_together(v == 0 ? _mm256_unpacklo_epi64(a, b) : _mm256_unpackhi_epi64(a, b));
        };
        codes = {both(first.low, second.low), both(first.high, second.high)};
      }
      turn(m);
      for (std::int64_t j = 0; j < 16; ++j) {
        Vec::store_unaligned(p.b + square * 64 + (v * 16 + j) * p.stride_n, m[j]);
      }
    }
  }
}
OCTAVO_ISA_END

}  // namespace

extern const Float8Kernels kAvx2Float8Dot{
    {"1x64 tile, fp8 by a shift, AVX2 FMA, float32 sums in ascending k", nullptr, kFloat8Form,
     kMaxRows, &find_dot_tile, &pack, nullptr, nullptr, nullptr, nullptr, kWidth},
    DType::float32,
    nullptr,
    nullptr,
    &unpack,
    1,
    true,
};

}  // namespace octavo::cpu
#endif
