// SPDX-License-Identifier: Apache-2.0
// 4 x 16 in 8-wide vectors: 8 accumulators, 2 of B, 1 of A fit 16 registers.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/row_contract.hpp"
#include "octavo/numeric.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

OCTAVO_ISA_BEGIN("avx2")
#include "backends/cpu/kernels/rows/float_tile-inl.hpp"

using Vec8 = float __attribute__((vector_size(32), may_alias));
#include "backends/cpu/kernels/vec/lanes-inl.hpp"
#include "backends/cpu/kernels/rows/rows-inl.hpp"
inline Lanes<std::uint8_t, 32> high_halves(Lanes<std::uint32_t, 8> a, Lanes<std::uint32_t, 8> b) {
  // Packing goes by halves of a vector.
  const __m256i halves =
      _mm256_packus_epi32(reinterpret_cast<__m256i>(a >> 16), reinterpret_cast<__m256i>(b >> 16));
  return reinterpret_cast<Lanes<std::uint8_t, 32>>(_mm256_permute4x64_epi64(halves, 0xD8));
}
inline bool unpacked_bfloat16(const Lanes<float, 8> (&x)[4]) {
  const __m256 sum = reinterpret_cast<__m256>(x[0] + x[1] + (x[2] + x[3]));
  return _mm256_movemask_ps(_mm256_cmp_ps(sum, sum, _CMP_UNORD_Q)) == 0;
}
inline Lanes<std::uint8_t, 32> bfloat16s(Lanes<float, 8> a, Lanes<float, 8> b) {
  return high_halves(round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 8>>(a)),
                     round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 8>>(b)));
}
inline void stream(Lanes<std::uint8_t, 32> bytes, void* out) {
  _mm256_stream_si256(static_cast<__m256i*>(out), reinterpret_cast<__m256i>(bytes));
}
#include "backends/cpu/kernels/rows/finish-inl.hpp"
#include "backends/cpu/kernels/vec/widths-inl.hpp"

#include "backends/cpu/kernels/codes/statistics-inl.hpp"
inline void put_saturated(Lanes<std::uint32_t, 8> a, Lanes<std::uint32_t, 8> b,
                          Lanes<std::uint32_t, 8> c, Lanes<std::uint32_t, 8> d, std::uint8_t* out,
                          bool streamed, bool to_signed) {
  const __m256i front =
      _mm256_packs_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
  const __m256i back =
      _mm256_packs_epi32(reinterpret_cast<__m256i>(c), reinterpret_cast<__m256i>(d));
  const __m256i bytes =
      to_signed ? _mm256_packs_epi16(front, back) : _mm256_packus_epi16(front, back);
  // Packing goes by halves of a vector.
  const __m256i ordered =
      _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  if (streamed) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(out), ordered);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), ordered);
  }
}
inline bool any_below(Lanes<std::uint16_t, 16> a, Lanes<std::uint16_t, 16> a_bound,
                      Lanes<std::uint16_t, 16> b, Lanes<std::uint16_t, 16> b_bound) {
  const auto below = (a < a_bound) | (b < b_bound);
  return _mm256_movemask_epi8(reinterpret_cast<__m256i>(below)) != 0;
}
inline void put_signed_halves(Lanes<std::uint16_t, 16> front, Lanes<std::uint16_t, 16> back,
                              Lanes<std::uint16_t, 16> front_elements,
                              Lanes<std::uint16_t, 16> back_elements, std::uint8_t last,
                              std::uint8_t* out, bool streamed) {
  const __m256i codes = _mm256_min_epu8(
      _mm256_packus_epi16(reinterpret_cast<__m256i>(front), reinterpret_cast<__m256i>(back)),
      _mm256_set1_epi8(static_cast<char>(last)));
  const __m256i signs = _mm256_packs_epi16(reinterpret_cast<__m256i>(front_elements),
                                           reinterpret_cast<__m256i>(back_elements));
  const __m256i bytes = _mm256_or_si256(codes, _mm256_and_si256(signs, _mm256_set1_epi8(-128)));
  constexpr int kEvenQuarters = 0xD8;
  const auto ordered =
      reinterpret_cast<Lanes<std::uint8_t, 32>>(_mm256_permute4x64_epi64(bytes, kEvenQuarters));
  if (streamed) return stream(ordered, out);
  put_vector(ordered, out);
}

inline bool any_greater(Lanes<std::int32_t, 8> a, Lanes<std::int32_t, 8> b) {
  return _mm256_movemask_epi8(
             _mm256_cmpgt_epi32(reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b))) != 0;
}
#include "backends/cpu/kernels/rows/block_transpose-inl.hpp"
#include "backends/cpu/kernels/codes/errors-inl.hpp"
#include "backends/cpu/kernels/rows/silu-inl.hpp"
#include "backends/cpu/kernels/rows/attention-inl.hpp"
#include "backends/cpu/kernels/rows/chunk_sums_avx2-inl.hpp"
#include "backends/cpu/kernels/codes/inverses-inl.hpp"
#include "backends/cpu/kernels/codes/lane_codes-inl.hpp"
#include "backends/cpu/kernels/codes/mantissa_ties-inl.hpp"
#include "backends/cpu/kernels/codes/mantissas_plain-inl.hpp"
#include "backends/cpu/kernels/rows/outliers-inl.hpp"
#include "backends/cpu/kernels/codes/powers-inl.hpp"
#include "backends/cpu/kernels/codes/quantize-inl.hpp"
#include "backends/cpu/kernels/codes/quantize_rows-inl.hpp"
#include "backends/cpu/kernels/codes/rotate-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_cells-inl.hpp"
#include "backends/cpu/kernels/codes/scaled_columns-inl.hpp"
#include "backends/cpu/kernels/rows/table-inl.hpp"

OCTAVO_KERNEL void tile_4x16(std::int64_t depth, const float* a, const float* b, float* c,
                             std::int64_t ldc) noexcept {
  add_product<Vec8, 2>(depth, a, b, c, ldc, std::make_index_sequence<4>());
}
OCTAVO_ISA_END

}  // namespace

const Kernels kAvx2Kernels =
    make_kernels<8>("4x16 tile, AVX2, exact sums through float32 in steps of 512",
                    "4x16 tile, AVX2, float32 sums in ascending k", 4, &tile_4x16);

}  // namespace octavo::cpu
#endif
