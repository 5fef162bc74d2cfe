// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s share whose instructions take a step of A from a lane: 16 bytes of one row are
// four steps, the same ones in every quad of a register.
//
//   a    [0 .. 3] [4 .. 7] [8 .. 11] [12 .. 15]      b    column 0  1  2  3, four bytes each
//
// Needs: Part, Vec
// Gives: ByteLanesDot, ColumnSums, FloatLanesDot
struct LanesDot {
  static constexpr int kTogether = 1;
  static constexpr int kLeftBytes = 16;
  static constexpr int kStep = octavo::cpu::kStepBytes;
  static constexpr int kWidened = 1;
  static constexpr int kLoads = Vec::kParts;
  static constexpr int kLoadBytes = Part::kBytes;
  using Left = Part::Bytes;
  using Right = Part::Bytes;
  template <bool, bool>
  static OCTAVO_INLINE Left left(const char* a, const char*) {
    return Part::repeated(a);
  }
  static OCTAVO_INLINE Right right(const char* b) { return Part::load(b); }
};

// Registers of sums that are columns each.
template <class Register, class Columns>
struct ColumnSums {
  using Sum = Register;
  using Row = Columns;
  static constexpr int kSums = Vec::kParts;
  static constexpr int kMostVectors = octavo::cpu::kPanelVectors;
  template <bool>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void*) {
    const Row row = Vec::load<Row>(c);
    [&]<std::size_t... i>(std::index_sequence<i...>) OCTAVO_LAMBDA {
      ((sums[i] = row.part[i]), ...);
    }
    (std::make_index_sequence<kSums>());
  }
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::each<Row>([&](int i) { return sums[i]; });
  }
};

// Signed bytes.
struct ByteLanesDot : LanesDot {
  static constexpr bool kExact = true;
  static constexpr bool kFlips = true;
  template <bool flips, bool>
  static OCTAVO_INLINE Left left(const char* a, const char*) {
    return Part::flipped<flips>(Part::repeated(a));
  }
  static OCTAVO_INLINE Part::Ints zero() { return Part::zero_ints(); }
  static OCTAVO_INLINE Vec::Floats floats(const Vec::Ints& row) { return Vec::to_floats(row); }
};

// Sums of floats. A is floats, too, before it is anything else: made of bytes at each product, g++
// 12 has it in two registers.
struct FloatLanesDot : LanesDot, ColumnSums<Part::Floats, Vec::Floats> {
  static constexpr bool kExact = false;
  static constexpr bool kFlips = false;
  using Left = Part::Floats;
  template <bool, bool>
  static OCTAVO_INLINE Left left(const char* a, const char*) {
    return Part::as_floats(Part::repeated(a));
  }
  static OCTAVO_INLINE Sum zero() { return Part::zero_floats(); }
  static OCTAVO_INLINE const Row& floats(const Row& row) { return row; }
};
