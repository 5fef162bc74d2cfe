// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s share whose instructions multiply two rows by two columns of eight bytes each, in
// every quad of a register:
//
//   a   row 0 [0 .. 7]  row 1 [0 .. 7]        sums   r0 c0  r0 c1  r1 c0  r1 c1
//   b   col 0 [0 .. 7]  col 1 [0 .. 7]
//
// Needs: Part, Vec
// Gives: ByteEightsDot, EightsDot, FloatEightsDot
template <class Register, class Columns, int vectors>
struct EightsDot {
  static constexpr int kTogether = 2;
  static constexpr int kLeftBytes = 8;
  static constexpr int kStep = 8;
  static constexpr int kWidened = 1;
  static constexpr int kLoads = 2 * Vec::kParts;
  static constexpr int kLoadBytes = Part::kBytes;
  static constexpr int kSums = kLoads;
  static constexpr int kMostVectors = vectors;
  using Left = Part::Bytes;
  using Right = Part::Bytes;
  using Sum = Register;
  using Row = Columns;
  template <bool, bool both>
  static OCTAVO_INLINE Left left(const char* a, const char* other) {
    return Part::two_rows<both>(a, other);
  }
  static OCTAVO_INLINE Right right(const char* b) { return Part::load(b); }
  template <bool both>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void* other) {
    const Row first = Vec::load<Row>(c);
    const Row second = Vec::load<Row>(both ? other : c);
    [&]<std::size_t... i>(std::index_sequence<i...>) OCTAVO_LAMBDA {
      const auto more = [&](std::size_t part)
                            OCTAVO_LAMBDA { return both ? second.part[part] : Register{}; };
      ((sums[2 * i] = Part::zipped<false>(first.part[i], more(i)),
        sums[2 * i + 1] = Part::zipped<true>(first.part[i], more(i))),
       ...);
    }
    (std::make_index_sequence<Vec::kParts>());
  }
  template <std::size_t r>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::each<Row>(
        [&](int i) { return Part::unzipped<r == 1>(sums[2 * i], sums[2 * i + 1]); });
  }
};

template <int vectors>
struct ByteEightsDot : EightsDot<Part::Ints, Vec::Ints, vectors> {
  static constexpr bool kExact = true;
  static constexpr bool kFlips = true;
  template <bool flips, bool both>
  static OCTAVO_INLINE Part::Bytes left(const char* a, const char* other) {
    return Part::flipped<flips>(Part::two_rows<both>(a, other));
  }
  static OCTAVO_INLINE Part::Ints zero() { return Part::zero_ints(); }
  static OCTAVO_INLINE Vec::Floats floats(const Vec::Ints& row) { return Vec::to_floats(row); }
};

template <int vectors>
struct FloatEightsDot : EightsDot<Part::Floats, Vec::Floats, vectors> {
  static constexpr bool kExact = false;
  static constexpr bool kFlips = false;
  static OCTAVO_INLINE Part::Floats zero() { return Part::zero_floats(); }
  static OCTAVO_INLINE const Vec::Floats& floats(const Vec::Floats& row) { return row; }
};
