// SPDX-License-Identifier: Apache-2.0
// A 4x8 tile in 4-wide vectors: 8 accumulators, 2 columns of B, 1 broadcast; fits 16 registers.
#include <cstdint>

#include "backends/cpu/microkernel.hpp"

namespace octavo::cpu {
namespace {

using Vec4 = float __attribute__((vector_size(16), may_alias));

inline const Vec4& at(const float* p) noexcept { return *reinterpret_cast<const Vec4*>(p); }
inline Vec4& at(float* p) noexcept { return *reinterpret_cast<Vec4*>(p); }
inline Vec4 splat(float x) noexcept { return Vec4{x, x, x, x}; }

// noipa: constant-propagated clones of a kernel spill its accumulators (g++ 12).
#if defined(__clang__)
__attribute__((noinline))
#else
__attribute__((noipa))
#endif
void tile_4x8(std::int64_t depth, const float* a, const float* b, float* c,
              std::int64_t ldc) noexcept {
  float* row0 = c;
  float* row1 = c + ldc;
  float* row2 = c + 2 * ldc;
  float* row3 = c + 3 * ldc;
  Vec4 c00 = at(row0), c01 = at(row0 + 4);
  Vec4 c10 = at(row1), c11 = at(row1 + 4);
  Vec4 c20 = at(row2), c21 = at(row2 + 4);
  Vec4 c30 = at(row3), c31 = at(row3 + 4);
  for (std::int64_t k = 0; k < depth; ++k, a += 4, b += 8) {
    const Vec4 b0 = at(b);
    const Vec4 b1 = at(b + 4);
    const Vec4 a0 = splat(a[0]);
    c00 += a0 * b0;
    c01 += a0 * b1;
    const Vec4 a1 = splat(a[1]);
    c10 += a1 * b0;
    c11 += a1 * b1;
    const Vec4 a2 = splat(a[2]);
    c20 += a2 * b0;
    c21 += a2 * b1;
    const Vec4 a3 = splat(a[3]);
    c30 += a3 * b0;
    c31 += a3 * b1;
  }
  at(row0) = c00, at(row0 + 4) = c01;
  at(row1) = c10, at(row1 + 4) = c11;
  at(row2) = c20, at(row2 + 4) = c21;
  at(row3) = c30, at(row3 + 4) = c31;
}

}  // namespace

const Microkernel kGenericMicrokernel{4, 8, &tile_4x8};

}  // namespace octavo::cpu
