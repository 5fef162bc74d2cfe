// SPDX-License-Identifier: Apache-2.0
// wgmma: issue, commit, wait, for each warp by itself; mma.sync.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "backends/cuda/machine/layout.hpp"
#include "simulator/arithmetic.hpp"
#include "simulator/machine.hpp"
#include "simulator/tensor_cores.hpp"

namespace octavo::cuda::simulator {
namespace {

using u32 = std::uint32_t;
using u64 = std::uint64_t;

constexpr u32 kPoison = 0x7FA0DEAD;  // as float32 a NaN
constexpr u32 kRowsOfWarp = 16;
constexpr u32 kPiece = SharedMemory::kPiece;

/// Address of 16 bytes of an operand's row, as its descriptor says.
u32 operand_address(u64 descriptor, u32 row, u32 byte) {
  const u32 start = static_cast<u32>(descriptor & 0x3FFF) << 4;
  const u32 eight_rows = static_cast<u32>(descriptor >> 32 & 0x3FFF) << 4;
  return swizzle_128(start + row / 8 * eight_rows + row % 8 * kRowBytes + byte);
}

void check_descriptor(u64 descriptor, const Where& where) {
  if (descriptor >> 62 != 1)
    fault(where, "a descriptor {:#x} whose swizzle is not 128 bytes: not simulated", descriptor);
  if ((descriptor >> 49 & 7) != 0)
    fault(where, "a descriptor {:#x} with a base offset: not simulated", descriptor);
  if ((descriptor << 4 & 0x3FFFF) % kAtomBytes >= kRowBytes)
    fault(where, "a descriptor's tile must begin at a multiple of 1024 bytes; it starts at {:#x}",
          descriptor << 4 & 0x3FFFF);
}

/// Calls f(address) for every 16 bytes that one step reads of `rows` rows.
template <class F>
void operand_pieces(u64 descriptor, u32 first_row, u32 rows, const F& f) {
  for (u32 r = first_row; r < first_row + rows; ++r)
    for (u32 byte = 0; byte < kStepBytes; byte += kPiece) f(operand_address(descriptor, r, byte));
}

template <class F>
void product_pieces(const Product& product, u32 warp_of_group, const F& f) {
  operand_pieces(product.a, warp_of_group * kRowsOfWarp, kRowsOfWarp, f);
  operand_pieces(product.b, 0, product.columns, f);
}

void multiply(const Product& product, u32 warp_of_group, const SharedMemory& shared) {
  std::array<std::uint8_t, kRowsOfWarp * kStepBytes> a;
  std::vector<std::uint8_t> b(product.columns * kStepBytes);
  std::vector<u32> sums(kRowsOfWarp * product.columns, 0);
  const auto gather = [&](u64 descriptor, u32 first, u32 rows, std::uint8_t* to) {
    operand_pieces(descriptor, first, rows, [&](u32 address) {
      std::memcpy(to, shared.at(address), kPiece);
      to += kPiece;
    });
  };
  gather(product.a, warp_of_group * kRowsOfWarp, kRowsOfWarp, a.data());
  gather(product.b, 0, product.columns, b.data());
  Sums& held = *product.sums;
  const auto each_sum = [&](const auto& f) {
    for (u32 lane = 0; lane < kWarpThreads; ++lane) {
      for (u32 i = 0; i < held.registers; ++i) {
        const auto row =
            static_cast<u32>(accumulator_row(static_cast<int>(lane), static_cast<int>(i)));
        const auto column =
            static_cast<u32>(accumulator_column(static_cast<int>(lane), static_cast<int>(i)));
        f(held.values[lane * held.registers + i], sums[row * product.columns + column]);
      }
    }
  };
  if (product.accumulate) each_sum([](u32 in_register, u32& sum) { sum = in_register; });
  multiply_step(TensorUnit::wgmma, product.type, a.data(), static_cast<int>(kRowsOfWarp), b.data(),
                static_cast<int>(product.columns), sums.data());
  each_sum([](u32& in_register, u32 sum) { in_register = sum; });
}

}  // namespace

void Machine::wgmma_fence(Where where) {
  s_.meet_warp(t_, "wgmma.fence", 0, nullptr, where,
               [&] { t_.cta->tensor_cores->warps[warp()].fenced = true; });
}

void Machine::issue(MmaType type, u32 columns, void* sums, u64 a, u64 b, bool accumulate,
                    const Where& where) {
  check_descriptor(a, where);
  check_descriptor(b, where);
  Meeting& meeting = t_.warp->meeting;
  const u64 key = (a * 31 + b) * 31 + u64{columns} * 4 + static_cast<u64>(type) * 2 + accumulate;
  s_.meet_warp(t_, "wgmma.mma_async", key & 0xFFFFFFFFFFF, sums, where, [&] {
    TensorCores& cores = *t_.cta->tensor_cores;
    WarpProducts& mine = cores.warps[warp()];
    const u32 group = warp() / kQuarters, quarter = warp() % kQuarters;

    auto& issued = cores.issued[{group, mine.issued++}];
    issued.push_back({a, b, u64{columns} << 8 | static_cast<u64>(type) << 1 | u64{accumulate}});
    if (issued.front() != issued.back())
      fault(where, "warp {} of CTA {} issues another wgmma than the other warps of its group",
            warp(), cta_rank());
    if (issued.size() == kQuarters) cores.issued.erase({group, mine.issued - 1});

    auto& slot = mine.sums[meeting.arguments[0]];
    if (!slot) {
      if (!mine.fenced)
        fault(where, "warp {} issues a wgmma without wgmma.fence after its sums were its own",
              warp());
      slot = std::make_unique<Sums>();
      slot->registers = columns / 2;
      slot->values.resize(kWarpThreads * slot->registers);
      const std::vector<u32> poison(slot->registers, kPoison);
      for (u32 lane = 0; lane < kWarpThreads; ++lane) {
        slot->owners[lane] = meeting.arguments[lane];
        std::memcpy(&slot->values[lane * slot->registers], slot->owners[lane],
                    slot->registers * sizeof(u32));
        std::memcpy(slot->owners[lane], poison.data(), slot->registers * sizeof(u32));
      }
    }
    if (slot->registers != columns / 2)
      fault(where, "a wgmma of {} columns adds to sums that one of {} has in flight", columns,
            slot->registers * 2);
    ++slot->in_flight;
    const Product product{type, columns, a, b, accumulate, slot.get()};
    product_pieces(product, quarter, [&](u32 address) {
      t_.cta->shared.begin_reading(address, kPiece, s_.actor(t_), "wgmma", where);
    });
    mine.open.products.push_back(product);

    ++s_.counters.wgmmas;
    const ClockModel& clock = s_.options.clock;
    t_.time += clock.wgmma_slots;
    const double multiplying = columns / 2.0;
    const double reading =
        (kQuarters * kRowsOfWarp + columns) * double{kStepBytes} / clock.shared_bytes;
    double& free = t_.cta->tensor_free[quarter];
    free = std::max(free, t_.time) + std::max(multiplying, reading);
    t_.cta->tensor_busy[quarter] += multiplying;
    mine.open.end = free;
  });
}

void Machine::wgmma_commit(Where where) {
  s_.meet_warp(t_, "wgmma.commit_group", 0, nullptr, where, [&] {
    WarpProducts& mine = t_.cta->tensor_cores->warps[warp()];
    mine.groups.push_back(std::move(mine.open));
    mine.open = ProductGroup();
  });
}

void Machine::wgmma_wait_until(u32 groups, const Where& where) {
  if (s_.options.landing != Landing::eager) s_.yield(t_);
  s_.meet_warp(t_, "wgmma.wait_group", groups, nullptr, where, [&] {
    WarpProducts& mine = t_.cta->tensor_cores->warps[warp()];
    if (!mine.open.products.empty())
      fault(where, "warp {} waits for wgmmas that it has not committed", warp());
    while (mine.groups.size() > groups) {
      const ProductGroup group = std::move(mine.groups.front());
      mine.groups.pop_front();
      t_.time = std::max(t_.time, group.end + s_.options.clock.wgmma_latency);
      for (const Product& product : group.products) {
        if (s_.options.arithmetic)
          multiply(product, warp() % kQuarters, t_.cta->shared);
        else if (!product.accumulate)
          std::fill(product.sums->values.begin(), product.sums->values.end(), 0);
        product_pieces(product, warp() % kQuarters, [&](u32 address) {
          t_.cta->shared.end_reading(address, kPiece, s_.now(t_));
        });
        --product.sums->in_flight;
      }
    }
    for (auto entry = mine.sums.begin(); entry != mine.sums.end();) {
      Sums& held = *entry->second;
      if (held.in_flight != 0) {
        ++entry;
        continue;
      }
      for (u32 lane = 0; lane < kWarpThreads; ++lane) {
        auto* const owner = static_cast<char*>(held.owners[lane]);
        for (u32 i = 0; i < held.registers; ++i) {
          u32 now;
          std::memcpy(&now, owner + i * sizeof(u32), sizeof(u32));
          if (now != kPoison)
            fault(where, "lane {} of warp {} touched its sum {} while wgmma had it", lane, warp(),
                  i);
        }
        std::memcpy(owner, &held.values[lane * held.registers], held.registers * sizeof(u32));
      }
      entry = mine.sums.erase(entry);
      mine.fenced = false;
    }
  });
}

// 16 x 8 sums, by machine/layout.hpp's maps of one warp.
void Machine::multiply_fragments(MmaType type, void* sums, const u32* a, const u32* b,
                                 const Where& where) {
  struct Lane {
    void* sums;
    const u32 *a, *b;
  } mine{sums, a, b};
  const bool ampere = s_.options.ampere;
  if (ampere && !is_integer(type) && !is_half(type))
    fault(where, "mma.sync of fp8 on a device of 8.0, which has none");
  Meeting& meeting = t_.warp->meeting;
  s_.meet_warp(t_, "mma.sync", static_cast<u64>(type), &mine, where, [&] {
    constexpr int kColumns = 8;
    std::array<std::uint8_t, kRowsOfWarp * kStepBytes> rows{};
    std::array<std::uint8_t, kColumns * kStepBytes> columns{};
    std::array<u32, kRowsOfWarp * kColumns> all{};
    const auto lane_of = [&](u32 l) { return static_cast<const Lane*>(meeting.arguments[l]); };
    const auto each_sum = [&](const auto& f) {
      for (int l = 0; l < static_cast<int>(kWarpThreads); ++l) {
        for (int i = 0; i < 4; ++i) {
          const int at = accumulator_row(l, i) * kColumns + accumulator_column(l, i);
          f(static_cast<char*>(lane_of(static_cast<u32>(l))->sums) + i * 4,
            all[static_cast<std::size_t>(at)]);
        }
      }
    };
    for (int l = 0; l < static_cast<int>(kWarpThreads); ++l) {
      const Lane& lane = *lane_of(static_cast<u32>(l));
      for (int i = 0; i < 4; ++i) {
        const int at = fragment_a_row(l, i) * kStepBytes + fragment_a_byte(l, i);
        std::memcpy(&rows[static_cast<std::size_t>(at)], &lane.a[i], 4);
      }
      for (int i = 0; i < 2; ++i) {
        const int at = fragment_b_column(l, i) * kStepBytes + fragment_b_byte(l, i);
        std::memcpy(&columns[static_cast<std::size_t>(at)], &lane.b[i], 4);
      }
    }
    each_sum([](const char* in_register, u32& sum) { std::memcpy(&sum, in_register, 4); });
    if (s_.options.arithmetic) {
      multiply_step(ampere ? TensorUnit::mma_sync_of_8 : TensorUnit::mma_sync, type, rows.data(),
                    static_cast<int>(kRowsOfWarp), columns.data(), kColumns, all.data());
    }
    each_sum([](char* in_register, u32 sum) { std::memcpy(in_register, &sum, 4); });
  });
}

}  // namespace octavo::cuda::simulator
