// SPDX-License-Identifier: Apache-2.0
// The first element of a matrix, row by row, that is NaN or infinite.
//
//     first[CTA] = min r * C + c over the elements of its octets, C = columns; none: 2^63 - 1
#pragma once

#include <limits>

#include "backends/cuda/kernels/common/octet.hpp"
#include "backends/cuda/kernels/passes/pass.hpp"
#include "backends/cuda/kernels/passes/teams.hpp"

namespace octavo::cuda {

struct FiniteKernel {
  struct Params {
    MatrixView x;             ///< its rows as they lie in memory
    bool transposed = false;  ///< they are the columns of the matrix that is asked about
    bool words = false;
    std::int64_t* first = nullptr;  ///< one for each CTA
  };
  static constexpr std::uint32_t kThreads = 256, kSharedBytes = team_bytes(kThreads);
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

  template <class Machine>
  OCTAVO_DEVICE static void run(Machine m, const Params& p) {
    const std::int64_t rows = p.x.shape[0], columns = p.x.shape[1];
    const std::int64_t per_row = octets_of(columns);
    First first;
    each_element(m, kThreads, rows * per_row, [&](std::int64_t t) {
      const std::int64_t r = quotient_of(t, per_row), c = (t - r * per_row) * kOctet;
      float x[kOctet];
      load_octet(m, p.x, p.words, r, c, columns - c, x);
      int bad = kOctet;
      OCTAVO_UNROLL
      for (int e = kOctet - 1; e >= 0; --e)
        if ((std::bit_cast<std::uint32_t>(x[e]) & 0x7FFFFFFFU) >= 0x7F800000U) bad = e;
      if (bad < kOctet) first.add(p.transposed ? (c + bad) * rows + r : r * columns + c + bad);
    });
    std::uint32_t turn = 0;
    join_team<kThreads>(m, kThreads, turn, first);
    if (m.tid() == 0) m.store_global(p.first + m.block(), first.index());
  }

 private:
  // An index as two words, the low one first.
  struct First {
    std::uint32_t low = 0xFFFFFFFFU, high = 0x7FFFFFFFU;

    OCTAVO_DEVICE std::int64_t index() const {
      return static_cast<std::int64_t>(std::uint64_t{high} << 32 | low);
    }
    OCTAVO_DEVICE void add(std::int64_t other) {
      if (other >= index()) return;
      low = static_cast<std::uint32_t>(other);
      high = static_cast<std::uint32_t>(other >> 32);
    }
    OCTAVO_DEVICE void join(const First& other) { add(other.index()); }
    template <class Move>
    OCTAVO_DEVICE First moved(const Move& move) const {
      return {move(low), move(high)};
    }
  };
};

}  // namespace octavo::cuda
