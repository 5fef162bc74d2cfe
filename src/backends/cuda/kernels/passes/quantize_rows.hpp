// SPDX-License-Identifier: Apache-2.0
// Section 6 where memory is all that it should cost: cells are whole octets of rows that lie as
// words, scales are symmetric. One reading; a cell's elements stay in registers.
//
//     thread `rank` of a team has octets rank, rank + team, ... of a cell, at most `kept`
//     most    one word: the largest finite magnitude, and in bit 31 whether anything else is there
//     code    by the reciprocal of the scale where all are finite, two at a time where the machine
//             has such instructions
//
// The way is chosen once, by the codes' type, so that the loop has none of the others'.
#pragma once

#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/quantize_rules.hpp"
#include "backends/cuda/kernels/passes/teams.hpp"

namespace octavo::cuda {

template <std::uint32_t threads, int kept>
struct QuantizeRows {
  struct Params {
    CellGrid grid;            ///< of height 1, no zero points, computed scales
    std::uint32_t cells = 0;  ///< at most 2^31
    std::uint32_t across = 1;
    std::uint32_t octets = 1;  ///< of a cell: at most kept * team
    std::uint32_t team = 1;    ///< threads
  };
  static constexpr std::uint32_t kThreads = threads, kSharedBytes = team_bytes(threads);
  static constexpr int kKept = kept;

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    with_codec(p.grid.dtype, [&]<std::size_t row>(Codec<row>) {
      using Code = Codec<row>;
      if constexpr (Code::kKind == DTypeKind::float8 || Code::kKind == DTypeKind::integer)
        quantize<Code>(m, p);
    });
  }

 private:
  static constexpr std::uint32_t kOther = 0x80000000U;

  struct Most {
    std::uint32_t bits = 0;

    OCTAVO_DEVICE void join(const Most& other) {
      const std::uint32_t own = bits & ~kOther, one = other.bits & ~kOther;
      bits = (own > one ? own : one) | ((bits | other.bits) & kOther);
    }
    template <class Move>
    OCTAVO_DEVICE Most moved(const Move& move) const {
      return {move(bits)};
    }
    OCTAVO_DEVICE void add(const float (&x)[kOctet]) {
      std::uint32_t largest = 0;
      OCTAVO_UNROLL
      for (int e = 0; e < kOctet; ++e) {
        const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(x[e]) & ~kOther;
        largest = magnitude > largest ? magnitude : largest;
      }
      if (largest >= kInfiniteBits) {
        Range finite;
        finite.add(x, kOctet, false);
        largest = finite.most | kOther;
      }
      join({largest});
    }
  };

  // Codes of finite elements by a near divisor.
  template <class Code, class Machine>
  OCTAVO_DEVICE static Words2 near_codes(Machine& m, const CellGrid& g, const float (&x)[kOctet],
                                         const Divisor& by) {
    constexpr bool kE4M3 = Code::kType == DType::float8_e4m3fn;
    float quotient[kOctet];
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) quotient[e] = near_quotient(x[e], by);
    Words2 codes{};
    if constexpr (Machine::has_fp8 && (kE4M3 || Code::kType == DType::float8_e5m2)) {
      if (g.overflow == Overflow::saturate) {
        OCTAVO_UNROLL
        for (int e = 0; e < kOctet; e += 2) {
          const std::uint32_t pair = kE4M3 ? m.pack_e4m3(quotient[e], quotient[e + 1])
                                           : m.pack_e5m2(quotient[e], quotient[e + 1]);
          codes.word[e / 4] |= pair << (e % 4 * 8);
        }
        return codes;
      }
    }
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      const auto code = static_cast<std::uint32_t>(Code::encode(quotient[e], g.overflow));
      codes.word[e / 4] |= (code & 0xFFU) << (e % 4 * 8);
    }
    return codes;
  }

  // Codes of any elements.
  template <class Code>
  OCTAVO_DEVICE static Words2 far_codes(const CellGrid& g, const float (&x)[kOctet],
                                        const Divisor& by) {
    Words2 codes{};
    OCTAVO_UNROLL
    for (int e = 0; e < kOctet; ++e) {
      float quotient = code_quotient(x[e], by.scale);
      if constexpr (Code::kKind == DTypeKind::float8)
        quotient = shown_quotient<Code::kFormat.inf_code != 0>(x[e], quotient, g.ignores);
      const auto code = static_cast<std::uint32_t>(Code::encode(quotient, g.overflow));
      codes.word[e / 4] |= (code & 0xFFU) << (e % 4 * 8);
    }
    return codes;
  }

  template <class Code, class Machine>
  OCTAVO_DEVICE static void quantize(Machine& m, const Params& p) {
    const CellGrid& g = p.grid;
    const std::uint32_t teams = kThreads / p.team, rank = m.tid() % p.team;
    const std::uint32_t cells = p.cells, step = m.blocks() * teams;
    std::uint32_t turn = 0;
    for (std::uint32_t begin = m.block() * teams; begin < cells; begin += step) {
      const std::uint32_t cell = begin + m.tid() / p.team;
      const std::uint32_t count = cell < cells ? p.octets : 0;
      const std::uint32_t i = p.across == 1 ? cell : cell / p.across;
      const std::uint32_t j = cell - i * p.across;
      const std::int64_t column = std::int64_t{j} * p.octets * kOctet;
      const std::int64_t source = i * g.x.strides[0] + column;
      Most most;
      float x[kKept][kOctet];
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::uint32_t t = rank + p.team * static_cast<std::uint32_t>(k);
        if (t < count) load_words(m, g.x, source + std::int64_t{t} * kOctet, x[k]);
      }
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::uint32_t t = rank + p.team * static_cast<std::uint32_t>(k);
        if (t < count) most.add(x[k]);
      }
      join_team<kThreads>(m, p.team, turn, most);
      if (cell >= cells) continue;
      Range range;
      range.most = most.bits & ~kOther;
      range.all = (most.bits & kOther) != 0 ? kInfiniteBits : range.most;
      const Divisor by = divisor_of(settle(m, g, i, j, range, rank == 0), range.all);
      std::uint8_t* codes =
          static_cast<std::uint8_t*>(g.codes.data) + i * g.codes.strides[0] + column;
      const auto store = [&](std::uint32_t t, const Words2& octet) {
        m.store_global(reinterpret_cast<Words2*>(codes + std::int64_t{t} * kOctet), octet);
      };
      if (!by.near) {  // rare, and one copy of long code: the elements come from the caches again
        for (std::uint32_t t = rank; t < count; t += p.team) {
          float again[kOctet];
          load_words(m, g.x, source + std::int64_t{t} * kOctet, again);
          store(t, far_codes<Code>(g, again, by));
        }
        continue;
      }
      OCTAVO_UNROLL
      for (int k = 0; k < kKept; ++k) {
        const std::uint32_t t = rank + p.team * static_cast<std::uint32_t>(k);
        if (t < count) store(t, near_codes<Code>(m, g, x[k], by));
      }
    }
  }
};
/// Groups, and rows of up to 512 elements: a warp or less has one.
using QuantizeShortRows = QuantizeRows<256, 2>;
/// Rows of up to 16,384 elements: a warp or the CTA.
using QuantizeLongRows = QuantizeRows<512, 4>;

}  // namespace octavo::cuda
