// SPDX-License-Identifier: Apache-2.0
// Two CTAs of a cluster that have each multiplied half of K add their sums, half of the columns
// each.
//
//     CTA of part 0: sums of K's first half        columns 0-63 | 64-127 --+
//                                                     ^                    |
//     CTA of part 1: sums of K's second half   +-- columns 0-63 | 64-127 <-+     (distributed
//     shared memory)
//
// A thread's sums go to the thread of its number in the other CTA, sixteen bytes beside those of
// its neighbours; both then hold out = part 0 + part 1 of their columns.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// `count` sums a thread, of `threads` threads.
template <class Sum, int count, int threads>
struct Exchange {
  using u32 = std::uint32_t;
  static constexpr int kHalf = count / 2;
  static constexpr u32 kBytes = threads * kHalf * sizeof(Sum);
  static constexpr u32 kBarrierBytes = 16;
  static_assert(kHalf % 4 == 0 && sizeof(Sum) == 4);

  u32 sums, barriers;  // shared addresses, the same in both CTAs

  template <class Machine>
  OCTAVO_DEVICE void make_barriers(Machine& m) const {
    m.mbarrier_init(filled(), threads / 32);
    m.mbarrier_init(free(), threads / 32);
  }

  /// The own half of `from`, with the peer's part added, in `half`. The own half is 0 or 1:
  /// registers have no index. `phase` alternates from call to call.
  template <int own, class Machine>
  OCTAVO_DEVICE void run(Machine& m, u32 peer, u32 thread, u32 phase, const Sum (&from)[count],
                         Sum (&half)[kHalf]) const {
    m.mbarrier_wait(free(), phase ^ 1);  // the peer has read what this CTA sent before
    OCTAVO_UNROLL
    for (int i = 0; i < kHalf; i += 4) {
      const Sum* s = from + (1 - own) * kHalf + i;
      m.store_cluster(place(thread, i), peer, Four{s[0], s[1], s[2], s[3]});
    }
    m.sync_warp();
    if (m.lane() == 0) m.mbarrier_arrive_cluster_release(filled(), peer);
    m.mbarrier_wait_cluster(filled(), phase);
    OCTAVO_UNROLL
    for (int i = 0; i < kHalf; i += 4) {
      const Four other = m.template load_shared<Four>(place(thread, i));
      OCTAVO_UNROLL
      for (int j = 0; j < 4; ++j) half[i + j] = from[own * kHalf + i + j] + other.values[j];
    }
    m.sync_warp();
    if (m.lane() == 0) m.mbarrier_arrive_cluster(free(), peer);
  }

  /// Before a CTA ends its peer must have read what it sent, and told it so.
  template <class Machine>
  OCTAVO_DEVICE void finish(Machine& m, u32 phase) const {
    m.mbarrier_wait(free(), phase ^ 1);
  }

 private:
  struct alignas(16) Four {
    Sum values[4];
  };
  OCTAVO_DEVICE u32 filled() const { return barriers; }
  OCTAVO_DEVICE u32 free() const { return barriers + 8; }
  OCTAVO_DEVICE u32 place(u32 thread, int i) const {
    return sums + (static_cast<u32>(i / 4) * threads + thread) * static_cast<u32>(sizeof(Four));
  }
};

}  // namespace octavo::cuda
