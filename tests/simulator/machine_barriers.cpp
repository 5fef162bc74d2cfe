// SPDX-License-Identifier: Apache-2.0
// mbarriers: phases that end when all have arrived and all expected bytes have landed.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "simulator/machine.hpp"
#include "simulator/phases.hpp"

namespace octavo::cuda::simulator {

using u32 = std::uint32_t;

void complete_phase(Simulation& simulation, MBarrier& barrier) {
  if (barrier.pending != 0 || barrier.expected_bytes != 0) return;
  ++barrier.phases;
  barrier.pending = barrier.count;
  barrier.gathering.writes.raise({barrier.agent, static_cast<u32>(barrier.phases)});
  barrier.published = std::move(barrier.gathering);
  barrier.gathering = Knowledge();
  barrier.cluster_published = std::move(barrier.cluster_gathering);
  barrier.cluster_gathering = Knowledge();
  simulation.wake(barrier.waiting, barrier.time + simulation.options.clock.barrier_latency);
}

void arrive_at_barrier(Simulation& simulation, MBarrier& barrier, u32 address, double time,
                       const Where& where) {
  barrier.time = std::max(barrier.time, time);
  if (barrier.pending == 0) {
    fault(where, "more than {} arrivals at the mbarrier at {:#x} in its phase {}", barrier.count,
          address, barrier.phases);
  }
  --barrier.pending;
  complete_phase(simulation, barrier);
}

MBarrier& Machine::barrier(Cta& cta, u32 address, const Where& where) {
  const auto found = cta.barriers.find(address);
  if (found == cta.barriers.end())
    fault(where, "the mbarrier at {:#x} of CTA {} is used before its init", address, cta.rank);
  MBarrier& barrier = found->second;
  if (!t_.warp->knows.writes.covers(barrier.made)) {
    fault(where,
          "warp {} of CTA {} uses the mbarrier at {:#x} of CTA {}, and no barrier orders "
          "that after its init",
          warp(), cta_rank(), address, cta.rank);
  }
  if (&cta != t_.cta && !barrier.visible_to_cluster) {
    fault(where, "the mbarrier at {:#x} of CTA {} is used by CTA {} without fence.mbarrier_init",
          address, cta.rank, cta_rank());
  }
  return barrier;
}

void Machine::mbarrier_init(u32 address, u32 count, Where where) {
  if (count == 0 || count >= 1U << 20)
    fault(where, "an mbarrier's count is from 1 to 2^20 - 1; got {}", count);
  t_.cta->shared.reserve_barrier(address, s_.actor(t_), where);
  MBarrier& made = t_.cta->barriers[address];
  made = MBarrier();
  made.agent = s_.add_agent();
  made.count = made.pending = count;
  made.made = s_.now(t_);
  made.made_by = t_.id;
}

void Machine::fence_mbarrier_init() {
  for (auto& [address, barrier] : t_.cta->barriers)
    if (barrier.made_by == t_.id) barrier.visible_to_cluster = true;
}

void Machine::mbarrier_arrive(u32 address, Where where) {
  MBarrier& here = barrier(*t_.cta, address, where);
  s_.release(*t_.warp, here.gathering);
  arrive_at_barrier(s_, here, address, t_.time, where);
  s_.yield(t_);
}

void Machine::mbarrier_expect(u32 address, u32 bytes, Where where) {
  MBarrier& here = barrier(*t_.cta, address, where);
  here.expected_bytes += bytes;
  if (std::abs(here.expected_bytes) >= 1 << 20)
    fault(where, "the mbarrier at {:#x} expects {} bytes; it can count to 2^20 - 1", address,
          here.expected_bytes);
  t_.time += s_.options.clock.barrier_slots;
  s_.release(*t_.warp, here.gathering);
  arrive_at_barrier(s_, here, address, t_.time, where);
  s_.yield(t_);
}

void Machine::arrive_at(u32 address, u32 rank, bool releases, const Where& where) {
  Cta& cta = peer(rank, where);
  MBarrier& there = barrier(cta, address, where);
  t_.time += s_.options.clock.meeting;
  if (&cta == t_.cta) {
    s_.release(*t_.warp, there.gathering);
    arrive_at_barrier(s_, there, address, t_.time, where);
    s_.yield(t_);
    return;
  }
  // On its way it carries what the warp knows now.
  auto carried = std::make_shared<Knowledge>();
  if (releases) {
    s_.release(*t_.warp, *carried);
  } else {
    s_.release_finished_reads(*t_.warp, *carried);
  }
  s_.later(t_.time + s_.options.clock.remote_latency, [this_simulation = &s_, &cta, &there, address,
                                                       carried, releases, where] {
    if (cta.running == 0) fault(where, "an arrival reaches CTA {} after it has ended", cta.rank);
    (releases ? there.cluster_gathering : there.gathering).join(*carried);
    arrive_at_barrier(*this_simulation, there, address, this_simulation->event_time(), where);
  });
  s_.yield(t_);
}

void Machine::mbarrier_arrive_cluster(u32 address, u32 rank, Where where) {
  arrive_at(address, rank, false, where);
}
void Machine::mbarrier_arrive_cluster_release(u32 address, u32 rank, Where where) {
  arrive_at(address, rank, true, where);
}

void Machine::wait_for(u32 address, u32 parity, bool cluster, const Where& where) {
  t_.time += s_.options.clock.barrier_slots;
  s_.yield(t_);
  MBarrier& here = barrier(*t_.cta, address, where);
  const std::uint64_t phases = here.phases;
  while ((here.phases & 1) == (parity & 1)) {
    s_.wait(t_, here.waiting, fmt::format("mbarrier wait({:#x}, parity {})", address, parity),
            where);
    if (here.phases > phases + 1) {
      fault(where, "warp {} waits at the mbarrier at {:#x} while it goes through {} phases", warp(),
            address, here.phases - phases);
    }
  }
  t_.warp->knows.join(here.published);
  if (cluster) t_.warp->knows.join(here.cluster_published);
}

void Machine::mbarrier_wait(u32 address, u32 parity, Where where) {
  wait_for(address, parity, false, where);
}
void Machine::mbarrier_wait_cluster(u32 address, u32 parity, Where where) {
  wait_for(address, parity, true, where);
}

}  // namespace octavo::cuda::simulator
