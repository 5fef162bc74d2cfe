// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s of weights of 16 bits share: a step of a packed pair is two of A, and each half,
// as a float, meets float32 by fused multiply-add. They add part<step>(), the halves of 16 columns.
//
// Included inside an instruction-set region after a `Vec`; every including file gets its own copy.
#include "backends/cpu/kernels/float_dot-inl.hpp"

struct HalvesDot : FloatDot {
  static constexpr int kSteps = 2;
  using Part = Vec::Ints;
  explicit HalvesDot(const octavo::cpu::DotTile& t) : FloatDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    return Vec::fused(Vec::as_floats(a), Vec::as_floats(b), sum);
  }
};
