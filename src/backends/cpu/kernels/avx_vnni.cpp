// SPDX-License-Identifier: Apache-2.0
// int8 by vpdpbusd of AVX-VNNI, sum[lane] += u[0] s[0] + u[1] s[1] + u[2] s[2] + u[3] s[3] with u
// the unsigned bytes of A and s the signed ones of B, exact modulo 2^32: ten registers of sums, two
// of B, one of A and the flip fit sixteen.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{5, 2, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("avx2,fma,avxvnni")
#include "backends/cpu/kernels/vec_avx2-inl.hpp"

#include "backends/cpu/kernels/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  explicit Dot(const DotTile& t) : IntegerDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Vec::Ints& b) {
    return {_mm256_dpbusd_avx_epi32(sum.low, a.low, b.low),
            _mm256_dpbusd_avx_epi32(sum.high, a.high, b.high)};
  }
};
#include "backends/cpu/kernels/dot_tile-inl.hpp"
#include "backends/cpu/kernels/transpose_avx2-inl.hpp"

#include "backends/cpu/kernels/pack_codes-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvxVnniDot{
    {"5x16 tile, AVX-VNNI, exact int32 sums", nullptr, kInt8Form, kMaxRows, &find_dot_tile,
     &pack_codes, nullptr, nullptr, nullptr, nullptr, kWidth},
    ARows::unsigned_bytes,
    &unpack_piece,
};

}  // namespace octavo::cpu
#endif
