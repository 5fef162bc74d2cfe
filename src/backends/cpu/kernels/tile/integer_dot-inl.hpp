// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s of bytes share: sum[j] = add(sum[j], u, a step of column j) with u the four bytes
// of A, each XOR the tile's flip, which makes bytes of the kind that the instruction takes of them.
//
// A `Dot` writes its constructor down: an inherited one would lie outside the region, where g++ 12
// makes a call of it, and accumulators go to the stack around calls.
//
// Needs: Vec
// Gives: IntegerDot
struct IntegerDot {
  static constexpr bool kExact = true;
  static constexpr int kLoadVectors = 1;
  static constexpr int kSteps = 1;
  using Loaded = Vec::Ints;
  using Right = Vec::Ints;
  using Sum = Vec::Ints;
  explicit IntegerDot(const octavo::cpu::DotTile& t) : flip(Vec::broadcast_byte(t.flip)) {}
  static Loaded load(const Vec::Ints& b) { return b; }
  template <int>
  static Right right(const Loaded& b) {
    return b;
  }
  Vec::Ints flipped(const Vec::Ints& a) const { return Vec::exclusive_or(a, flip); }
  // What add() takes of flipped bytes.
  static const Vec::Ints& taken(const Vec::Ints& u) { return u; }
  Vec::Ints left(const Vec::Ints& a) const { return flipped(a); }
  // What left() makes ones of.
  Vec::Ints one() const { return Vec::exclusive_or(Vec::broadcast_byte(1), flip); }
  static Sum zero() { return Vec::zero_ints(); }
  static Sum read(const void* p) { return Vec::load_ints(p); }
  static void write(void* p, Sum sum) { Vec::store(p, sum); }
  static Vec::Floats floats(Sum sum) { return Vec::to_floats(sum); }

  Vec::Ints flip;
};
