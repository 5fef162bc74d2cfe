// SPDX-License-Identifier: Apache-2.0
// int8 by smmla, which multiplies two rows of eight bytes by two columns of eight, exactly modulo
// 2^32:
//
//   a   row 0 [0 .. 7]  row 1 [0 .. 7]        sums   r0 c0  r0 c1  r1 c0  r1 c1
//   b   col 0 [0 .. 7]  col 1 [0 .. 7]
//
// 24 registers of sums, three of A and some of B fit 32. B has to be packed in steps of eight,
// which is done a chunk at a time for all its rows; few rows take sdot on panels as they are.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cpu/kernels/dot.hpp"
#include "backends/cpu/kernels/isa_region.hpp"

namespace octavo::cpu {
namespace {

constexpr std::array<std::int64_t, kPanelVectors> kMaxRows{6, 1, 1, 1};
constexpr std::int64_t kWidth = 1;

OCTAVO_ISA_BEGIN("arch=armv8.2-a+i8mm")
#include "backends/cpu/kernels/vec_neon-inl.hpp"

struct Dot {
  static constexpr bool kExact = true;
  static constexpr bool kFlips = true;
  static constexpr int kTogether = 2;
  static constexpr int kLeftBytes = 8;
  static constexpr int kStep = 8;
  static constexpr int kLoads = 8;
  static constexpr int kSums = 8;
  static constexpr int kMostVectors = 1;
  using Left = int8x16_t;
  using Right = int8x16_t;
  using Sum = int32x4_t;
  using Row = Vec::Ints;
  template <bool flips, bool both>
  static OCTAVO_INLINE Left left(const char* a, const char* other) {
    const auto eight = [](const char* p) OCTAVO_LAMBDA {
      return vld1_u8(reinterpret_cast<const std::uint8_t*>(p));
    };
    const uint8x8_t second = both ? eight(other) : vdup_n_u8(0);
    const uint8x16_t bytes = vcombine_u8(eight(a), second);
    return vreinterpretq_s8_u8(flips ? veorq_u8(bytes, vdupq_n_u8(0x80)) : bytes);
  }
  static OCTAVO_INLINE Right right(const char* b) {
    return vreinterpretq_s8_u8(vld1q_u8(reinterpret_cast<const std::uint8_t*>(b)));
  }
  template <int, int>
  static OCTAVO_INLINE Sum add(Sum sum, Left a, Right b) {
    return vmmlaq_s32(sum, a, b);
  }
  static OCTAVO_INLINE Sum zero() { return vdupq_n_s32(0); }
  static OCTAVO_INLINE int32x4_t lower(int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  }
  static OCTAVO_INLINE int32x4_t upper(int32x4_t a, int32x4_t b) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
  }
  template <bool both>
  static OCTAVO_INLINE void put(Sum* sums, const void* c, const void* other) {
    const Vec::Ints first = Vec::load_ints(c);
    const Vec::Ints second = both ? Vec::load_ints(other) : Vec::zero_ints();
    const auto blocks = [&](int i) OCTAVO_LAMBDA {
      sums[2 * i] = lower(first.part[i], second.part[i]);
      sums[2 * i + 1] = upper(first.part[i], second.part[i]);
    };
    blocks(0);
    blocks(1);
    blocks(2);
    blocks(3);
  }
  template <std::size_t r>
  static OCTAVO_INLINE Row row(const Sum* sums) {
    return Vec::each<Row>([&](int i) {
      return r == 0 ? lower(sums[2 * i], sums[2 * i + 1]) : upper(sums[2 * i], sums[2 * i + 1]);
    });
  }
  static OCTAVO_INLINE Vec::Floats floats(const Row& row) { return Vec::to_floats(row); }
};
#include "backends/cpu/kernels/dot_tile_registers-inl.hpp"
#include "backends/cpu/kernels/transpose_neon-inl.hpp"

#include "backends/cpu/kernels/pack-inl.hpp"

// Two steps of four of a vector as one of eight; the second one of the last step is perhaps zeros.
OCTAVO_INLINE void join_steps(char* out, const Vec::Ints& first, const Vec::Ints& second) {
  const auto columns = [&](int i) {
    return Vec::Ints{{vzip1q_s32(first.part[i], second.part[i]),
                      vzip2q_s32(first.part[i], second.part[i]),
                      vzip1q_s32(first.part[i + 1], second.part[i + 1]),
                      vzip2q_s32(first.part[i + 1], second.part[i + 1])}};
  };
  Vec::store(out, columns(0));
  Vec::store(out + 64, columns(2));
}

void decode_eights(const void* codes, std::int64_t steps, std::int64_t vectors,
                   void* panel) noexcept {
  const std::int64_t row_bytes = vectors * 64;
  const char* from = static_cast<const char*>(codes);
  char* out = static_cast<char*>(panel);
  for (; steps > 0; steps -= 2, from += row_bytes) {
    for (std::int64_t v = 0; v < vectors; ++v, from += 64, out += 128) {
      fetch(from + 4096);
      join_steps(out, Vec::load_ints(from),
                 steps > 1 ? Vec::load_ints(from + row_bytes) : Vec::zero_ints());
    }
  }
}

// A few squares at a time, in steps of four at first.
void pack_eights(const PackPiece& p) noexcept {
  constexpr std::int64_t kDepth = 256;
  const std::int64_t vectors = (p.columns + 15) / 16;
  alignas(64) char fours[kDepth / 4 * kPanelVectors * 64];
  PackPiece part = p;
  part.panel = fours;
  for (std::int64_t k = 0; k < p.depth; k += kDepth) {
    const auto at = [&](std::int64_t row) {
      return static_cast<const char*>(p.b) + row * p.stride_k;
    };
    const bool last = p.depth - k <= kDepth;
    part.b = at(k);
    part.depth = last ? p.depth - k : kDepth;
    part.next = last ? p.next : at(k + kDepth);
    pack_piece(part, SameElements<1, true>());
    decode_eights(fours, (part.depth + 3) / 4, vectors,
                  static_cast<char*>(p.panel) + k / 8 * vectors * kEightsForm.vector_bytes);
  }
}
OCTAVO_ISA_END

}  // namespace

extern const IntegerKernels kNeonI8mmDot{
    {"6x16 tile, NEON i8mm (smmla), exact int32 sums", nullptr, kEightsForm, kMaxRows,
     &find_dot_tile, &pack_eights, nullptr, &decode_eights, nullptr, nullptr, kWidth},
    ARows::signed_bytes,
    nullptr,
};

}  // namespace octavo::cpu
#endif
