// SPDX-License-Identifier: Apache-2.0
// int8 and bfloat16 by AMX, in the tiles of amx_tile-inl.hpp. For a register of 64 bytes of A
//
//   tdpbssd     c[r][j] += sum over i = 0 .. 63 of a[r][i] * b[i / 4][4 j + i % 4]     exact
//   tdpbf16ps   even    = sum over i = 0, 2 .. 30 of a[r][i] * b[i / 2][2 j]      from 0, fused
//               odd     = sum over i = 1, 3 .. 31 of a[r][i] * b[i / 2][2 j + 1]  the same
//               c[r][j] += even + odd                                    each rounded to nearest
//
// whatever the floating-point environment says; operands and sums below 2^-126 count as 0. Panels
// of int8 and bfloat16 lie as the instructions want them, 16 steps of 16 columns; codes of fp8, and
// int8 beside bfloat16, are looked up as bfloat16 on their way.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

#if defined(__x86_64__)
namespace octavo::cpu {
namespace {

thread_local std::int64_t shaped_for = 0;  // rows; 0: the registers are not in use

#include "backends/cpu/kernels/number_table-inl.hpp"

OCTAVO_ISA_BEGIN("avx512f,avx512bw,avx512vbmi,amx-tile,amx-int8,amx-bf16")
#include "backends/cpu/kernels/vec_avx512-inl.hpp"

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
};

#include "backends/cpu/kernels/amx_kernels-inl.hpp"
OCTAVO_ISA_END

}  // namespace

extern const AmxKernels kAmxDot = kAmxKernels;

}  // namespace octavo::cpu
#endif
