// SPDX-License-Identifier: Apache-2.0
// The AVX-512 kernels with the instruction that rounds to bfloat16, and those that pick bytes from
// tables.
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

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx512bf16,avx512vnni")
#include "backends/cpu/kernels/vec/lanes-inl.hpp"

// The instruction takes subnormal numbers for zeros and keeps a NaN's payload.
inline bool unpacked_bfloat16(const Lanes<float, 16> (&x)[4]) {
  constexpr int kNanOrSubnormal = 0x01 | 0x20 | 0x80;
  const auto unusual = [](Lanes<float, 16> v) {
    return _mm512_fpclass_ps_mask(reinterpret_cast<__m512>(v), kNanOrSubnormal);
  };
  return (unusual(x[0]) | unusual(x[1]) | unusual(x[2]) | unusual(x[3])) == 0;
}
inline Lanes<std::uint8_t, 64> bfloat16s(Lanes<float, 16> a, Lanes<float, 16> b) {
  return reinterpret_cast<Lanes<std::uint8_t, 64>>(
      _mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(b), reinterpret_cast<__m512>(a)));
}
inline void put_bytes(__m512i bytes, std::uint8_t* out, bool streamed);
#include "backends/cpu/kernels/codes/mantissas_avx512-inl.hpp"
#include "backends/cpu/kernels/codes/signed_bytes_vbmi-inl.hpp"

#include "backends/cpu/kernels/rows/chunk_sums_vnni-inl.hpp"

#include "backends/cpu/kernels/rows/rows_avx512-inl.hpp"
OCTAVO_ISA_END

}  // namespace

const Kernels kAvx512Bf16Kernels = kTable;

}  // namespace octavo::cpu
#endif
