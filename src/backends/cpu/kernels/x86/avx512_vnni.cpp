// SPDX-License-Identifier: Apache-2.0
// int8 by vpdpbusd, sum[lane] += u[0] s[0] + u[1] s[1] + u[2] s[2] + u[3] s[3] with u the unsigned
// bytes of A and s the signed ones of B, exact modulo 2^32: 24 accumulators, up to 4 vectors of B
// and one of A fit 32 registers.
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

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{8, 12, 4, 6};
constexpr std::int64_t kWidth = kPanelVectors;

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vnni")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

#include "backends/cpu/kernels/tile/integer_dot-inl.hpp"
struct Dot : IntegerDot {
  static constexpr bool kEitherUnsigned = true;
  explicit Dot(const DotTile& t) : IntegerDot(t) {}
  static Sum add(Sum sum, __m512i a, __m512i b) { return _mm512_dpbusd_epi32(sum, a, b); }
};
#include "backends/cpu/kernels/tile/dot_tile-inl.hpp"
#include "backends/cpu/kernels/vec/transpose_avx512-inl.hpp"

#include "backends/cpu/kernels/panels/pack_codes-inl.hpp"
#include "backends/cpu/kernels/unpacked/int8_avx512-inl.hpp"

#include "backends/cpu/kernels/unpacked/along_tiles-inl.hpp"

UnpackedKernel find_unpacked_or_tiles(const UnpackedWanted& wanted) noexcept {
  const UnpackedKernel tiles = find_along_tiles(wanted);
  return tiles != nullptr ? tiles : find_unpacked(wanted);
}
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kAvx512VnniDot{
    .dot =
        {
            .how = "6x64 tile, AVX-512 VNNI, exact int32 sums",
            .how_unpacked = "few rows, AVX-512 VNNI, exact int32 sums",
            .form = kInt8Form,
            .max_rows = kMaxRows,
            .tile = &find_dot_tile,
            .pack = &pack_codes,
            .unpacked = &find_unpacked_or_tiles,
        },
    .rows = ARows::unsigned_bytes,
    .unpack = &unpack_piece,
};

}  // namespace octavo::cpu
#endif
