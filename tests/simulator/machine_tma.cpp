// SPDX-License-Identifier: Apache-2.0
// TMA: boxes of tensors to and from shared memory, asynchronously.
//
// At issue the destination becomes undefined; when the copy lands it is written, elements outside
// the tensor as zeros, and the mbarrier at the same address in every destination CTA is told of its
// bytes.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "backends/cuda/machine/layout.hpp"
#include "simulator/machine.hpp"
#include "simulator/phases.hpp"

namespace octavo::cuda::simulator {
namespace {

using u32 = std::uint32_t;
using Coordinates = std::array<int, 3>;

u32 row_bytes(const TensorMap& map) { return static_cast<u32>(map.box[0] * map.element_bytes); }
u32 box_bytes(const TensorMap& map) {
  u32 bytes = row_bytes(map);
  for (int d = 1; d < map.rank; ++d) bytes *= static_cast<u32>(map.box[d]);
  return bytes;
}

// What cuTensorMapEncodeTiled and the instructions ask for.
void check_map(const TensorMap& map, int rank, u32 shared, const Where& where) {
  if (map.rank != rank)
    fault(where, "a copy of {} dimensions through a tensor map of {}", rank, map.rank);
  if (reinterpret_cast<std::uintptr_t>(map.base) % 16 != 0)
    fault(where, "a tensor map's base must be a multiple of 16");
  for (int d = 0; d < map.rank; ++d) {
    if (map.box[d] < 1 || map.box[d] > 256)
      fault(where, "a tensor map's box[{}] must be from 1 to 256; got {}", d, map.box[d]);
    if (map.extent[d] < 1 || map.extent[d] > std::int64_t{1} << 32)
      fault(where, "a tensor map's extent[{}] must be from 1 to 2^32; got {}", d, map.extent[d]);
    if (d > 0 && (map.pitch[d] % 16 != 0 || map.pitch[d] >= std::int64_t{1} << 40))
      fault(where, "a tensor map's pitch[{}] must be a multiple of 16 below 2^40; got {}", d,
            map.pitch[d]);
  }
  if (row_bytes(map) % 16 != 0)
    fault(where, "a box's rows must be a multiple of 16 bytes; got {}", row_bytes(map));
  if (map.swizzle == Swizzle::bytes_128) {
    // Rows of fewer bytes would be allowed; no kernel here has them, nor the simulator their
    // layout.
    if (row_bytes(map) != kRowBytes)
      fault(where, "rows of a swizzled box must have 128 bytes; got {}", row_bytes(map));
    if (shared % kAtomBytes != 0)
      fault(where, "a swizzled box must lie at a multiple of 1024; got {:#x}", shared);
  } else if (shared % 128 != 0) {
    fault(where, "a box must lie at a multiple of 128; got {:#x}", shared);
  }
}

/// Calls f(shared address, global address or null) for every 16 bytes or less of a box.
template <class F>
void walk(const TensorMap& map, u32 shared, const Coordinates& from, const F& f) {
  const auto element = static_cast<u32>(map.element_bytes);
  const int planes = map.rank > 2 ? map.box[2] : 1;
  const int rows = map.rank > 1 ? map.box[1] : 1;
  for (int z = 0; z < planes; ++z) {
    for (int y = 0; y < rows; ++y) {
      const auto line = static_cast<u32>(z * rows + y) * row_bytes(map);
      for (int x = 0; x < map.box[0]; ++x) {
        const std::array<std::int64_t, 3> at = {
            std::int64_t{from[0]} + x, std::int64_t{from[1]} + y, std::int64_t{from[2]} + z};
        bool inside = true;
        std::int64_t offset = at[0] * element;
        for (int d = 0; d < map.rank; ++d) {
          const auto i = static_cast<std::size_t>(d);
          inside = inside && at[i] >= 0 && at[i] < map.extent[d];
          if (d > 0) offset += at[i] * map.pitch[d];
        }
        u32 address = shared + line + static_cast<u32>(x) * element;
        if (map.swizzle == Swizzle::bytes_128) address = swizzle_128(address);
        f(address, inside ? static_cast<std::uint8_t*>(map.base) + offset : nullptr);
      }
    }
  }
}

}  // namespace

void Machine::load_box(const TensorMap& map, int rank, u32 destination, u32 barrier_address,
                       Coordinates from, u32 cta_mask, const Where& where) {
  check_map(map, rank, destination, where);
  const ClockModel& clock = s_.options.clock;
  const u32 bytes = box_bytes(map);
  ++s_.counters.tma_loads;
  t_.time += clock.tma_slots;
  const std::uint64_t box = (static_cast<std::uint64_t>(static_cast<u32>(from[2])) << 48) ^
                            (static_cast<std::uint64_t>(static_cast<u32>(from[1])) << 24) ^
                            static_cast<u32>(from[0]);
  const double begin = s_.from_memory(map.base, box, bytes, std::max(t_.time, t_.cta->l2_free));
  t_.cta->l2_free = std::max(t_.time, t_.cta->l2_free) + bytes / clock.l2_bytes;
  const double landing = std::max(begin, t_.cta->l2_free) + clock.tma_latency;
  if (cta_mask == 0 || cta_mask >> s_.launch.cluster != 0)
    fault(where, "a multicast to CTAs {:#x} of a cluster of {}", cta_mask, s_.launch.cluster);

  for (u32 r = 0; r < s_.launch.cluster; ++r) {
    if ((cta_mask >> r & 1) == 0) continue;
    Cta& cta = peer(r, where);
    MBarrier& told = barrier(cta, barrier_address, where);
    if (!told.visible_to_cluster)
      fault(where, "TMA signals the mbarrier at {:#x} of CTA {} without fence.mbarrier_init",
            barrier_address, r);
    cta.shared.begin_landing(destination, bytes, SharedMemory::Copier::tma, s_.actor(t_), where);
    s_.later(landing, [this_simulation = &s_, &cta, &told, map, destination, from, bytes,
                       barrier_address, where, actor = s_.actor(t_)] {
      const auto size = static_cast<std::size_t>(map.element_bytes);
      walk(map, destination, from, [&](u32 address, const std::uint8_t* element) {
        if (element != nullptr) {
          std::memcpy(cta.shared.at(address), this_simulation->global(element, size, where), size);
        } else {
          std::memset(cta.shared.at(address), 0, size);
        }
      });
      // Who waits for the phase that these bytes are counted in knows of them.
      Actor lander = actor;
      lander.now = {told.agent, static_cast<u32>(told.phases + 1)};
      cta.shared.end_landing(destination, bytes, SharedMemory::Copier::tma, lander);
      told.expected_bytes -= bytes;
      if (std::abs(told.expected_bytes) >= 1 << 20)
        fault(where, "the mbarrier at {:#x} is told of 2^20 bytes more than it expects",
              barrier_address);
      told.time = std::max(told.time, this_simulation->event_time());
      complete_phase(*this_simulation, told);
    });
  }
  s_.yield(t_);
}

void Machine::tma_store(const TensorMap& map, u32 source, int x, int y, Where where) {
  check_map(map, 2, source, where);
  ++s_.counters.tma_stores;
  const u32 bytes = box_bytes(map);
  Cta& cta = *t_.cta;
  cta.shared.begin_reading(source, bytes, s_.actor(t_), "a TMA store", where);
  auto store = std::make_shared<StoreInFlight>();
  store->source = source;
  store->bytes = bytes;
  t_.open_stores.push_back(store);
  const ClockModel& clock = s_.options.clock;
  s_.later(t_.time + bytes / clock.store_bytes + clock.store_latency,
           [this_simulation = &s_, &cta, map, source, store, where, from = Coordinates{x, y, 0}] {
             const auto size = static_cast<std::size_t>(map.element_bytes);
             walk(map, source, from, [&](u32 address, std::uint8_t* element) {
               if (element != nullptr)
                 std::memcpy(this_simulation->global(element, size, where), cta.shared.at(address),
                             size);
             });
             store->read = true;
             this_simulation->wake(store->waiting, this_simulation->event_time());
           });
}

void Machine::tma_store_commit() {
  t_.store_groups.push_back(std::move(t_.open_stores));
  t_.open_stores.clear();
}

void Machine::tma_store_wait_until(u32 groups, const Where& where) {
  if (!t_.open_stores.empty())
    fault(where, "cp.async.bulk.wait_group with stores that were not committed");
  while (t_.store_groups.size() > groups) {
    for (const auto& store : t_.store_groups.front()) {
      while (!store->read) s_.wait(t_, store->waiting, "a TMA store to read its source", where);
      t_.cta->shared.end_reading(store->source, store->bytes, s_.now(t_));
    }
    t_.store_groups.erase(t_.store_groups.begin());
  }
}

}  // namespace octavo::cuda::simulator
