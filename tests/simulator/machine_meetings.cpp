// SPDX-License-Identifier: Apache-2.0
// Where threads meet: a warp's lanes, named barriers, a cluster; registers that warps hand over.
#include <algorithm>

#include "simulator/machine.hpp"

namespace octavo::cuda::simulator {

using u32 = std::uint32_t;

void Machine::sync_warp(Where where) { s_.meet_warp(t_, "bar.warp.sync", 0, nullptr, where); }

bool Machine::elect(Where where) {
  s_.meet_warp(t_, "elect.sync", 0, nullptr, where);
  return t_.lane == 0;
}

u32 Machine::shuffle_bits(u32 bits, u32 source, const Where& where) {
  struct Lane {
    u32 given, source, got;
  } mine{bits, source, 0};
  Meeting& meeting = t_.warp->meeting;
  s_.meet_warp(t_, "shfl.sync", 0, &mine, where, [&] {
    for (void* argument : meeting.arguments) {
      auto* const lane = static_cast<Lane*>(argument);
      lane->got = static_cast<Lane*>(meeting.arguments[lane->source % kWarpThreads])->given;
    }
  });
  return mine.got;
}

void Machine::sync_named(u32 id, u32 threads, Where where) {
  if (id >= 16 || threads == 0 || threads % kWarpThreads != 0)
    fault(where, "bar.sync takes a barrier below 16 and a multiple of 32 threads; got {} and {}",
          id, threads);
  s_.meet(t_, t_.cta->named[id], threads, "bar.sync", u64{id} << 32 | threads, nullptr, where);
}

void Machine::cluster_sync(Where where) {
  s_.meet(t_, t_.cta->cluster->meeting, s_.launch.cluster * s_.launch.threads, "barrier.cluster", 0,
          nullptr, where);
}

// All lanes together; what a warp gives up another may be waiting for.
void Machine::set_registers(u32 count, bool increase, const Where& where) {
  if (count % 8 != 0 || count < 24 || count > 256)
    fault(where, "setmaxnreg takes a multiple of 8 from 24 to 256; got {}", count);
  Warp& warp = *t_.warp;
  Cta& cta = *t_.cta;
  s_.meet_warp(t_, increase ? "setmaxnreg.inc" : "setmaxnreg.dec", count, nullptr, where, [&] {
    if (increase != (count >= warp.registers))
      fault(where, "setmaxnreg.{} from {} to {} registers", increase ? "inc" : "dec",
            warp.registers, count);
  });
  if (t_.lane == 0) {
    if (increase) {
      const u32 more = (count - warp.registers) * kWarpThreads;
      while (cta.free_registers < more)
        s_.wait(t_, cta.waiting_for_registers, fmt::format("setmaxnreg.inc to {}", count), where);
      cta.free_registers -= more;
    } else {
      cta.free_registers += (warp.registers - count) * kWarpThreads;
      s_.wake(cta.waiting_for_registers, t_.time);
    }
    warp.registers = count;
  }
  s_.meet_warp(t_, "setmaxnreg", count, nullptr, where);
}

// A warp's instructions go through its quarter's port, one a cycle.
void Machine::work(int slots, Where where) {
  if (!s_.options.timed) return;
  s_.meet_warp(t_, "work", 0, nullptr, where, [&] {
    double& free = t_.cta->issue_free[warp() % kQuarters];
    free = std::max(free, t_.time) + slots;
    t_.time = free;
  });
}

}  // namespace octavo::cuda::simulator
