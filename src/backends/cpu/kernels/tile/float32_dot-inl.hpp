// SPDX-License-Identifier: Apache-2.0
// float32 by fused multiply-add: sum[j] = fma(a, b[j], sum[j]), one product a column and step.
//
//   a      a  a  a  ..  a          four bytes of a row: one float32
//   b     b0 b1 b2  .. b15         a step of B
//
// Needs: Vec
// Gives: Dot
#include "backends/cpu/kernels/tile/float_dot-inl.hpp"

struct Dot : FloatDot {
  explicit Dot(const octavo::cpu::DotTile& t) : FloatDot(t) {}
  static Sum add(Sum sum, Vec::Ints a, Vec::Ints b) {
    return Vec::fused(Vec::as_floats(a), Vec::as_floats(b), sum);
  }
};
