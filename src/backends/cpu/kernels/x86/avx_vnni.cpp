// SPDX-License-Identifier: Apache-2.0
// int8 by vpdpbusd of AVX-VNNI, whose bytes of A are unsigned (int8_fours_avx2-inl.hpp).
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

OCTAVO_ISA_BEGIN("avx2,fma,avxvnni")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

struct Products {
  static OCTAVO_INLINE __m256i add(__m256i sum, __m256i a, __m256i b) {
    return _mm256_dpbusd_avx_epi32(sum, a, b);
  }
};

#include "backends/cpu/kernels/x86/int8_fours_avx2-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvxVnniDot =
    integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI, exact int32 sums",
                    "few rows, AVX-VNNI, exact int32 sums", ARows::unsigned_bytes);

}  // namespace octavo::cpu
#endif
