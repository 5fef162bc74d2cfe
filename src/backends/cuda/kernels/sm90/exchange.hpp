// SPDX-License-Identifier: Apache-2.0
// Two CTAs of a cluster that have each multiplied half of K add their sums, half of the columns
// each.
//
//     CTA of part 0: sums of K's first half        columns 0-63 | 64-127 --+
//                                                     ^                    |
//     CTA of part 1: sums of K's second half   +-- columns 0-63 | 64-127 <-+     (distributed
//     shared memory)
//
// A handover of half of the sums each way; both then hold out = part 0 + part 1 of their columns.
#pragma once

#include "backends/cuda/kernels/sm90/handover.hpp"

namespace octavo::cuda {

/// `count` sums a thread, of `threads` threads.
template <class Sum, int count, int threads>
struct Exchange : Handover<Sum, count / 2, threads> {
  using u32 = std::uint32_t;
  static constexpr int kHalf = count / 2;

  /// The own half of `from`, with the peer's part added, in `half`. The own half is 0 or 1:
  /// registers have no index. `phase` alternates from call to call.
  template <int own, class Machine>
  OCTAVO_DEVICE void run(Machine& m, u32 peer, u32 thread, u32 phase, const Sum (&from)[count],
                         Sum (&half)[kHalf]) const {
    this->give(m, peer, thread, phase, from + (1 - own) * kHalf);
    OCTAVO_UNROLL
    for (int i = 0; i < kHalf; ++i) half[i] = from[own * kHalf + i];
    this->take(m, peer, thread, phase, half);
  }
};

}  // namespace octavo::cuda
