// SPDX-License-Identifier: Apache-2.0
// int8, bfloat16 and fp8 by AMX, in the tiles of amx_tile-inl.hpp. For a register of 64 bytes of A
//
//   tdpbssd     c[r][j] += sum over i = 0 .. 63 of a[r][i] * b[i / 4][4 j + i % 4]     exact
//   tdphf8ps    c[r][j] += sum over i = 0 .. 63 of a[r][i] * b[i / 4][4 j + i % 4]     of e4m3:
//                          exact, rounded to nearest once, before it is added
//   tdpbf16ps   even    = sum over i = 0, 2 .. 30 of a[r][i] * b[i / 2][2 j]      from 0, fused
//               odd     = sum over i = 1, 3 .. 31 of a[r][i] * b[i / 2][2 j + 1]  the same
//               c[r][j] += even + odd                                    each rounded to nearest
//
// whatever the floating-point environment says; operands and sums below 2^-126 count as 0. Panels
// of int8 and bfloat16 lie as the instructions want them, 16 steps of 16 columns; codes of fp8, and
// int8 beside bfloat16, are looked up as bfloat16 on their way, and e4m3 beside e4m3 is put into
// fours. No processor with tdphf8ps has run this; what it adds up is Intel's description.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/isa_region.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

thread_local std::int64_t shaped_for = 0;  // rows; 0: the registers are not in use

#include "backends/cpu/kernels/panels/number_table-inl.hpp"

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,amx-tile,amx-int8,amx-bf16")
#include "backends/cpu/kernels/vec/vec_avx512-inl.hpp"

// g++'s intrinsics take numbers of registers as text, not as template arguments.
struct Registers {
  static void configure(const void* shapes) { _tile_loadconfig(shapes); }
  static void release() { _tile_release(); }
  template <int t>
  static OCTAVO_INLINE void zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(t));
  }
  template <int t>
  static OCTAVO_INLINE void load(const void* from, std::int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(t) : "memory");
  }
  template <int t>
  static OCTAVO_INLINE void store(void* to, std::int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(t) : "memory");
  }
  template <int c, int a, int b>
  static OCTAVO_INLINE void add_bytes() {
    __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
  template <int c, int a, int b>
  static OCTAVO_INLINE void add_halves() {
    __asm__ volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
  }
  template <int c, int a, int b>
  static OCTAVO_INLINE void add_e4m3() {
    __asm__ volatile(".byte 0xc4, 0xe5, %c0, 0xfd, %c1" : : "i"(of_b(b)), "i"(of_c_and_a(c, a)));
  }
  // tdphf8ps, younger than many assemblers: VEX.128.66.MAP5.W0 FD /r.
  static constexpr int of_b(int b) { return (~b & 15) << 3 | 1; }
  static constexpr int of_c_and_a(int c, int a) { return 0xC0 | c << 3 | a; }
};

static_assert(Registers::of_b(4) == 0x59 && Registers::of_c_and_a(6, 5) == 0xF5,
              "tdphf8ps %tmm4, %tmm5, %tmm6 is C4 E5 59 FD F5");

#include "backends/cpu/kernels/amx/amx_kernels-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const AmxKernels kAmxDot = kAmxKernels;

}  // namespace octavo::cpu
#endif
