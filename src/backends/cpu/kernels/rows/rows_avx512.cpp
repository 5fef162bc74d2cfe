// SPDX-License-Identifier: Apache-2.0
// 8 x 16 in 16-wide vectors: 8 accumulators hide the latency of an addition.
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

OCTAVO_ISA_BEGIN("avx512f,avx512bw")
#include "backends/cpu/kernels/vec/lanes-inl.hpp"

inline bool unpacked_bfloat16(const Lanes<float, 16> (&x)[4]) {
  const __m512 sum = reinterpret_cast<__m512>(x[0] + x[1] + (x[2] + x[3]));
  return _mm512_cmp_ps_mask(sum, sum, _CMP_UNORD_Q) == 0;
}
inline Lanes<std::uint8_t, 64> high_halves(Lanes<std::uint32_t, 16> a, Lanes<std::uint32_t, 16> b);
inline Lanes<std::uint8_t, 64> bfloat16s(Lanes<float, 16> a, Lanes<float, 16> b) {
  return high_halves(round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 16>>(a)),
                     round_bfloat16(reinterpret_cast<Lanes<std::uint32_t, 16>>(b)));
}
#include "backends/cpu/kernels/codes/mantissas_plain-inl.hpp"
#include "backends/cpu/kernels/codes/signed_bytes_avx512-inl.hpp"

#include "backends/cpu/kernels/rows/chunk_sums_avx2-inl.hpp"

#include "backends/cpu/kernels/rows/rows_avx512-inl.hpp"
OCTAVO_ISA_END

}  // namespace

const Kernels kAvx512Kernels = kTable;

}  // namespace octavo::cpu
#endif
