// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s of floats share: sum[j] = add(sum[j], four bytes of A, a step of column j), where
// both sides are used as they lie.
//
// A `Dot` writes its constructor down: an inherited one would lie outside the region, where g++ 12
// makes a call of it, and accumulators go to the stack around calls.
//
// Needs: Vec
// Gives: FloatDot
struct FloatDot {
  static constexpr bool kExact = false;
  static constexpr int kLoadVectors = 1;
  static constexpr int kSteps = 1;
  using Loaded = Vec::Ints;
  using Right = Vec::Ints;
  using Sum = Vec::Floats;
  explicit FloatDot(const octavo::cpu::DotTile&) {}
  static Loaded load(const Vec::Ints& b) { return b; }
  template <int>
  static Right right(const Loaded& b) {
    return b;
  }
  static Vec::Ints left(const Vec::Ints& a) { return a; }
  static Sum zero() { return Vec::zero_floats(); }
  static Sum read(const void* p) { return Vec::load_floats(p); }
  static void write(void* p, Sum sum) { Vec::store(p, sum); }
  static Vec::Floats floats(Sum sum) { return sum; }
};
