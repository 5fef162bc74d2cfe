// SPDX-License-Identifier: Apache-2.0
// What the `Dot`s share whose instructions take a step of A from a lane: 16 bytes of one row are
// four steps.
//
//   a    [0 .. 3] [4 .. 7] [8 .. 11] [12 .. 15]      b    column 0  1  2  3, four bytes each
//
// Included inside an instruction-set region after vec_neon-inl.hpp; every including file gets its
// own copy.
struct LanesDot {
  static constexpr int kTogether = 1;
  static constexpr int kLeftBytes = 16;
  static constexpr int kStep = octavo::cpu::kStepBytes;
  static constexpr int kLoads = 4;
  using Right = uint8x16_t;
  static OCTAVO_INLINE Right right(const char* b) {
    return vld1q_u8(reinterpret_cast<const std::uint8_t*>(b));
  }
};

// Registers of sums that are four columns each.
template <class Register, class Columns>
struct ColumnSums {
  using Sum = Register;
  using Row = Columns;
  static constexpr int kSums = 4;
  static constexpr int kMostVectors = octavo::cpu::kPanelVectors;
  template <bool>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void*) {
    const auto* at = static_cast<const Sum*>(c);
    sums[0] = at[0];
    sums[1] = at[1];
    sums[2] = at[2];
    sums[3] = at[3];
  }
  template <std::size_t>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return {{sums[0], sums[1], sums[2], sums[3]}};
  }
};

// Signed bytes.
struct ByteLanesDot : LanesDot {
  static constexpr bool kExact = true;
  static constexpr bool kFlips = true;
  using Left = int8x16_t;
  template <bool flips, bool>
  static OCTAVO_INLINE Left left(const char* a, const char*) {
    const uint8x16_t bytes = vld1q_u8(reinterpret_cast<const std::uint8_t*>(a));
    return vreinterpretq_s8_u8(flips ? veorq_u8(bytes, vdupq_n_u8(0x80)) : bytes);
  }
  static OCTAVO_INLINE int32x4_t zero() { return vdupq_n_s32(0); }
  static OCTAVO_INLINE Vec::Floats floats(const Vec::Ints& row) { return Vec::to_floats(row); }
};
