// SPDX-License-Identifier: Apache-2.0
// AVX-VNNI's kernels, as the library has them, on its instructions in plain C++: for any CPU with
// AVX2.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"
#include "vnni_instructions.hpp"

#if defined(__x86_64__)
namespace octavo::test {
namespace {

OCTAVO_ISA_BEGIN("avx2,fma")
#include "backends/cpu/kernels/vec_avx2-inl.hpp"

template <class Byte>
__m256i added(__m256i sum, __m256i a, __m256i b) {
  alignas(32) std::uint32_t sums[8], left[8], right[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(sums), sum);
  _mm256_store_si256(reinterpret_cast<__m256i*>(left), a);
  _mm256_store_si256(reinterpret_cast<__m256i*>(right), b);
  for (int lane = 0; lane < 8; ++lane) {
    sums[lane] = vnni::dot<Byte>(sums[lane], left[lane], right[lane]);
  }
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(sums));
}

namespace of_unsigned {
struct Products {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return added<std::uint8_t>(sum, a, b); }
};
#include "backends/cpu/kernels/int8_fours_avx2-inl.hpp"
}  // namespace of_unsigned

namespace of_signed {
struct Products {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return added<std::int8_t>(sum, a, b); }
};
#include "backends/cpu/kernels/int8_fours_avx2-inl.hpp"
}  // namespace of_signed
OCTAVO_ISA_END

}  // namespace

extern const cpu::IntegerKernels kSimulatedAvxVnni =
    of_unsigned::integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI in plain C++",
                                 "few rows, AVX-VNNI in plain C++", cpu::ARows::unsigned_bytes);
extern const cpu::IntegerKernels kSimulatedAvxVnniInt8 =
    of_signed::integer_kernels(OCTAVO_FOURS_TILE ", AVX-VNNI-INT8 in plain C++",
                               "few rows, AVX-VNNI-INT8 in plain C++", cpu::ARows::signed_bytes);

}  // namespace octavo::test
#endif
