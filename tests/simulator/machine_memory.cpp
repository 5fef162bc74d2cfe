// SPDX-License-Identifier: Apache-2.0
// Loads and stores of matrices, copies that threads issue (cp.async), counters in global memory.
#include <array>
#include <cstring>
#include <vector>

#include "simulator/machine.hpp"

namespace octavo::cuda::simulator {

using u32 = std::uint32_t;

Cta& Machine::peer(u32 rank, const Where& where) {
  if (rank >= t_.cta->cluster->ctas.size())
    fault(where, "CTA {} of a cluster of {}", rank, t_.cta->cluster->ctas.size());
  Cta& cta = *t_.cta->cluster->ctas[rank];
  if (cta.running == 0)
    fault(where, "warp {} of CTA {} turns to CTA {}, which has ended", warp(), cta_rank(), rank);
  return cta;
}

// Four matrices of 8 rows of 16 bytes; lane l gives the address of row l % 8 of matrix l / 8. Lane
// l holds word l % 4 of row l / 4 of matrix j in its register j; transposed, the halves of that
// word are elements of rows 2 (l % 4) and the next, at column l / 4.
void Machine::store_matrices(u32 address, const std::array<u32, 4>& r, bool transposed,
                             const Where& where) {
  struct Lane {
    u32 address;
    std::array<u32, 4> r;
    u32 thread;
  } mine{address, r, t_.id};
  Meeting& meeting = t_.warp->meeting;
  s_.meet_warp(t_, transposed ? "stmatrix.trans" : "stmatrix", 0, &mine, where, [&] {
    const auto lane = [&](u32 i) { return static_cast<const Lane*>(meeting.arguments[i]); };
    Actor actor = s_.actor(t_);
    for (u32 j = 0; j < 4; ++j) {
      std::vector<u32> addresses;
      for (u32 row = 0; row < 8; ++row) {
        std::array<std::uint16_t, 8> elements{};
        for (u32 column = 0; column < 8; ++column) {
          const u32 holder = transposed ? column * 4 + row / 2 : row * 4 + column / 2;
          const u32 half = transposed ? row % 2 : column % 2;
          elements[column] = static_cast<std::uint16_t>(lane(holder)->r[j] >> (16 * half));
        }
        const Lane& owner = *lane(j * 8 + row);
        actor.thread = owner.thread;
        addresses.push_back(owner.address);
        t_.cta->shared.store(owner.address, 16, elements.data(), actor, where);
      }
      if (s_.options.count_banks) s_.count_wavefronts(where, addresses, 16);
    }
  });
}

void Machine::stmatrix4(u32 address, u32 r0, u32 r1, u32 r2, u32 r3, Where where) {
  store_matrices(address, {r0, r1, r2, r3}, false, where);
}
void Machine::stmatrix4_transposed(u32 address, u32 r0, u32 r1, u32 r2, u32 r3, Where where) {
  store_matrices(address, {r0, r1, r2, r3}, true, where);
}

void Machine::ldmatrix4(u32 address, u32 (&r)[4], Where where) {
  struct Lane {
    u32 address;
    u32* r;
  } mine{address, r};
  Meeting& meeting = t_.warp->meeting;
  s_.meet_warp(t_, "ldmatrix", 0, &mine, where, [&] {
    const auto lane = [&](u32 i) { return static_cast<const Lane*>(meeting.arguments[i]); };
    const Actor actor = s_.actor(t_);
    for (u32 j = 0; j < 4; ++j) {
      std::vector<u32> addresses;
      for (u32 row = 0; row < 8; ++row) {
        std::array<u32, 4> words{};
        addresses.push_back(lane(j * 8 + row)->address);
        t_.cta->shared.load(addresses.back(), 16, words.data(), actor, where);
        for (u32 word = 0; word < 4; ++word) lane(row * 4 + word)->r[j] = words[word];
      }
      if (s_.options.count_banks) s_.count_wavefronts(where, addresses, 16);
    }
  });
}

void Machine::cp_async16(u32 address, const void* global, u32 bytes, Where where) {
  if (bytes > 16 || address % 16 != 0 || reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    fault(where, "cp.async copies up to 16 bytes between multiples of 16; got {} bytes to {:#x}",
          bytes, address);
  s_.count_access(t_, address, 16, where);
  SharedMemory& shared = t_.cta->shared;
  shared.begin_landing(address, 16, SharedMemory::Copier::thread, s_.actor(t_), where);
  const void* from = bytes > 0 ? s_.global(global, bytes, where) : nullptr;
  t_.open_copies.copies.push_back([this_simulation = &s_, thread = &t_, &shared, address, from,
                                   bytes] {
    std::memset(shared.at(address), 0, 16);
    if (bytes > 0) std::memcpy(shared.at(address), from, bytes);
    shared.end_landing(address, 16, SharedMemory::Copier::thread, this_simulation->actor(*thread));
  });
}

void Machine::cp_async_commit() {
  t_.copy_groups.push_back(std::move(t_.open_copies));
  t_.open_copies = CopyGroup();
}

void Machine::cp_async_wait_until(u32 groups, const Where& where) {
  if (!t_.open_copies.copies.empty())
    fault(where, "cp.async.wait_group with copies that were not committed");
  while (t_.copy_groups.size() > groups) {
    for (const auto& land : t_.copy_groups.front().copies) land();
    t_.copy_groups.erase(t_.copy_groups.begin());
  }
}

u32 Machine::add_release(u32* counter, u32 value, Where where) {
  Simulation::GlobalFlag& flag = s_.global_flag(counter);
  s_.release(*t_.warp, flag.released);
  u32& count = *static_cast<u32*>(s_.global(counter, sizeof(u32), where));
  const u32 before = count;
  count += value;
  s_.wake(flag.waiting, t_.time);
  s_.yield(t_);
  return before;
}

// A thread that reads the value it has read before is waiting for another: it goes on when the
// counter changes.
u32 Machine::load_acquire(const u32* counter, Where where) {
  s_.yield(t_);
  Simulation::GlobalFlag& flag = s_.global_flag(counter);
  const u32& count = *static_cast<const u32*>(s_.global(counter, sizeof(u32), where));
  const auto last = t_.polled.find(counter);
  while (last != t_.polled.end() && last->second == count)
    s_.wait(t_, flag.waiting, fmt::format("a counter to leave {}", count), where);
  t_.polled[counter] = count;
  t_.warp->knows.join(flag.released);
  return count;
}

}  // namespace octavo::cuda::simulator
