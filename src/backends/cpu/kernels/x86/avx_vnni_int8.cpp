// SPDX-License-Identifier: Apache-2.0
// int8 by vpdpbssd of AVX-VNNI-INT8, whose bytes of A are signed (int8_fours_avx2-inl.hpp): nothing
// is added to int8 that column sums have to take away again. Empty where the assembler does not
// know the instruction (binutils before 2.40).
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(OCTAVO_AVX_VNNI_INT8)
namespace octavo::cpu {
namespace {

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

// g++ 12 and clang 14 have no intrinsics of it. Where an operand may be in memory, clang puts it
// there.
#if defined(__clang__)
#define OCTAVO_RIGHT "x"
#else
#define OCTAVO_RIGHT "xm"
#endif
struct Products {
  static OCTAVO_INLINE __m256i add(__m256i sum, __m256i a, __m256i b) {
    __asm__("vpdpbssd %2, %1, %0" : "+x"(sum) : "x"(a), OCTAVO_RIGHT(b));
    return sum;
  }
};

#include "backends/cpu/kernels/x86/int8_fours_avx2-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvxVnniInt8Dot =
    integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI-INT8, exact int32 sums",
                    "few rows, AVX-VNNI-INT8, exact int32 sums", ARows::signed_bytes);

}  // namespace octavo::cpu
#endif
