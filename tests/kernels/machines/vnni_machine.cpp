// SPDX-License-Identifier: Apache-2.0
// AVX-VNNI's kernels, as the library has them, on its instructions made of AVX2's.
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
namespace octavo::test {
namespace {

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec/vec_avx2-inl.hpp"

#include "vnni_dots-inl.hpp"

namespace of_unsigned {
struct Products {
  static __m256i add(__m256i sum, __m256i a, __m256i b) {
    return vnni_dots<std::uint8_t>(sum, a, b);
  }
};
#include "backends/cpu/kernels/x86/int8_fours_avx2-inl.hpp"
}  // namespace of_unsigned

namespace of_signed {
struct Products {
  static __m256i add(__m256i sum, __m256i a, __m256i b) {
    return vnni_dots<std::int8_t>(sum, a, b);
  }
};
#include "backends/cpu/kernels/x86/int8_fours_avx2-inl.hpp"
}  // namespace of_signed
OCTAVO_ISA_END

}  // namespace

extern const cpu::IntegerKernels kSimulatedAvxVnni =
    of_unsigned::integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI by AVX2",
                                 "few rows, AVX-VNNI by AVX2", cpu::ARows::unsigned_bytes);
extern const cpu::IntegerKernels kSimulatedAvxVnniInt8 =
    of_signed::integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI-INT8 by AVX2",
                               "few rows, AVX-VNNI-INT8 by AVX2", cpu::ARows::signed_bytes);

}  // namespace octavo::test
#endif
