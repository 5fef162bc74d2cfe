// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s share that widen weights beside float32: a step of B has `steps` elements of a
// column, and each, as a float, meets one of A by fused multiply-add. They add part<step>(), the
// elements of 16 columns.
//
// Needs: Vec
// Gives: WidenedDot
#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

template <int steps>
struct WidenedDot : FloatDot {
  static constexpr int kSteps = steps;
  using Part = Vec::Ints;
  explicit WidenedDot(const octavo::cpu::DotTile& t) : FloatDot(t) {}
  static OCTAVO_INLINE Sum add(const Sum& sum, const Vec::Ints& a, const Right& b) {
    return Vec::fused(Vec::as_floats(a), Vec::as_floats(b), sum);
  }
};
