// SPDX-License-Identifier: Apache-2.0
// Two CTAs of a cluster that have each multiplied half of K: the second hands its sums over, and
// the first has out = part 0 + part 1.
//
//     CTA of part 1: sums of K's second half  --+
//                                               |  distributed shared memory
//     CTA of part 0: sums of K's first half   <-+
//
// A thread's sums go to the thread of its number, sixteen bytes beside those of its neighbours. The
// second CTA is then free for its next tile, while the first one finishes this.
#pragma once

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

/// `count` sums a thread, of `threads` threads.
template <class Sum, int count, int threads>
struct Handover {
  using u32 = std::uint32_t;
  static constexpr u32 kBytes = threads * count * sizeof(Sum);
  static constexpr u32 kBarrierBytes = 16;
  static_assert(count % 4 == 0 && sizeof(Sum) == 4);

  u32 sums, barriers;  // shared addresses, the same in both CTAs

  template <class Machine>
  OCTAVO_DEVICE void make_barriers(Machine& m) const {
    m.mbarrier_init(filled(), threads / 32);
    m.mbarrier_init(free(), threads / 32);
  }

  /// Part 1: `count` sums. `phase` alternates from call to call, in both CTAs.
  template <class Machine>
  OCTAVO_DEVICE void give(Machine& m, u32 peer, u32 thread, u32 phase, const Sum* from) const {
    m.mbarrier_wait(free(), phase ^ 1);  // the peer has read what this CTA gave before
    OCTAVO_UNROLL
    for (int i = 0; i < count; i += 4)
      m.store_cluster(place(thread, i), peer, Four{from[i], from[i + 1], from[i + 2], from[i + 3]});
    m.sync_warp();
    if (m.lane() == 0) m.mbarrier_arrive_cluster_release(filled(), peer);
  }

  /// Part 0: the peer's are added.
  template <class Machine>
  OCTAVO_DEVICE void take(Machine& m, u32 peer, u32 thread, u32 phase, Sum (&to)[count]) const {
    m.mbarrier_wait_cluster(filled(), phase);
    OCTAVO_UNROLL
    for (int i = 0; i < count; i += 4) {
      const Four other = m.template load_shared<Four>(place(thread, i));
      OCTAVO_UNROLL
      for (int j = 0; j < 4; ++j) to[i + j] += other.values[j];
    }
    m.sync_warp();
    if (m.lane() == 0) m.mbarrier_arrive_cluster(free(), peer);
  }

  /// Part 1 before it ends: the peer must have told it that all has been read.
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
