// SPDX-License-Identifier: Apache-2.0
// Sixteen columns of 64 bytes of an unpacked weight, transposed (unpacked/columns-inl.hpp), in
// plain C++: as on Arm they lie in memory, and as steps, which `Words` make of four bytes of a
// column:
//   kSteps               of a word
//   put(dot, word, out)  this column's place in the first one at `out`, in the others each
//                        kSquareStep further on
//
// Needs: Vec
// Gives: kPairedRows, kSquareStep, TransposedSquare, TransposedSteps, Unseen
constexpr int kPairedRows = 2;
constexpr std::int64_t kSquareStep = 16;  // dwords

struct Unseen {
  template <class Dot>
  explicit Unseen(const Dot&) {}
  void look(const Vec::Ints&) {}
  static bool usual() { return true; }
};

template <class Words>
struct TransposedSteps {
  template <class Dot>
  TransposedSteps(const Dot& dot, const char* b, std::int64_t ldb) {
    for (std::int64_t j = 0; j < 16; ++j) {
      for (std::int64_t w = 0; w < 16; ++w) {
        std::int32_t word;
        std::memcpy(&word, b + j * ldb + 4 * w, sizeof(word));
        Words::put(dot, word, steps + w * Words::kSteps * kSquareStep + j);
      }
    }
  }
  Vec::Ints step(std::int64_t i) const { return Vec::load_ints(steps + i * kSquareStep); }

 private:
  alignas(64) std::int32_t steps[16 * Words::kSteps * kSquareStep];
};

struct SameWords {
  static constexpr int kSteps = 1;
  template <class Dot>
  static void put(const Dot&, std::int32_t word, std::int32_t* out) {
    *out = word;
  }
};
template <int bits>
using TransposedSquare = TransposedSteps<SameWords>;
