// SPDX-License-Identifier: Apache-2.0
// Sums of the rows of a matrix of 8-bit integers:
//
//   sums[r] = sum over c of x[r, c], modulo 2^32
//
//   a warp a row; a lane 16 bytes of it at a time, as four words:
//
//     int8 codes are moved up by 128 (word ^ 0x80808080), bytes are added as pairs of 16 bits
//
//       even = word & 0x00FF00FF, odd = word >> 8 & 0x00FF00FF       two of four: at most 2040
//
//     and what was added comes off at the end: 128 a column
#pragma once

#include "backends/cuda/kernels/common/octet.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"

namespace octavo::cuda {

struct LineSumsKernel {
  struct Params {
    const std::uint8_t* codes = nullptr;  ///< a multiple of 16, like the pitch
    std::int64_t rows = 0, columns = 0, pitch = 0;
    std::uint32_t flip = 0;  ///< 0x80 for int8, 0 for uint8
    std::int32_t* sums = nullptr;
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = 0;
  static constexpr std::int64_t kWarps = kThreads / 32;

  static std::int64_t pieces(const Params& p) noexcept { return (p.rows + kWarps - 1) / kWarps; }

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    each_piece(m, (p.rows + kWarps - 1) / kWarps, [&](std::int64_t piece) {
      const std::int64_t row = piece * kWarps + m.warp();
      if (row >= p.rows) return;
      std::uint32_t sum = sum_of_lane(m, p, p.codes + row * p.pitch);
      for (std::uint32_t distance = 16; distance > 0; distance /= 2)
        sum += m.shuffle(sum, m.lane() ^ distance);
      sum -= p.flip * static_cast<std::uint32_t>(p.columns);
      if (m.lane() == 0) m.store_global(p.sums + row, static_cast<std::int32_t>(sum));
    });
  }

 private:
  static constexpr std::int64_t kPiece = 16;  // bytes
  static constexpr std::uint32_t kPairs = 0x00FF00FFU;

  template <class Machine>
  OCTAVO_DEVICE static std::uint32_t sum_of_lane(Machine& m, const Params& p,
                                                 const std::uint8_t* row) {
    const std::uint32_t flip = p.flip * 0x01010101U;
    const std::int64_t whole = p.columns / kPiece;
    std::uint32_t sum = 0;
    for (std::int64_t i = m.lane(); i < whole; i += 32) {
      const Words4 words = m.load_global(reinterpret_cast<const Words4*>(row + i * kPiece));
      std::uint32_t pairs = 0;
      OCTAVO_UNROLL
      for (int w = 0; w < 4; ++w) {
        const std::uint32_t word = words.word[w] ^ flip;
        pairs += (word & kPairs) + (word >> 8 & kPairs);
      }
      sum += (pairs & 0xFFFFU) + (pairs >> 16);
    }
    const std::int64_t rest = whole * kPiece + m.lane();  // fewer than 16: a lane one of them
    if (rest < p.columns) sum += m.load_global(row + rest) ^ p.flip;
    return sum;
  }
};

}  // namespace octavo::cuda
