// SPDX-License-Identifier: Apache-2.0
// The machine of machine/types.hpp on the host: one simulated thread's view of it.
//
// Every primitive takes its caller's place in the source, for faults and counters.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "backends/cuda/machine/types.hpp"
#include "octavo/numeric.hpp"
#include "simulator/simulation.hpp"

namespace octavo::cuda::simulator {

class Machine {
 public:
  using u32 = std::uint32_t;
  using u64 = std::uint64_t;
  using TensorMap = octavo::cuda::TensorMap;
  static constexpr bool simulated = true;

  Machine(Simulation& simulation, Thread& thread) : s_(simulation), t_(thread) {}

  u32 tid() const { return t_.tid; }
  u32 lane() const { return t_.lane; }
  u32 warp() const { return t_.warp_index(); }
  u32 block() const { return t_.cta->block; }
  u32 blocks() const { return s_.launch.blocks; }
  u32 cta_rank() const { return t_.cta->rank; }
  u32 shared_base() const { return 0; }

  // --- two floats as 16-bit elements, the first in the low half ---
  u32 pack_bf16(float low, float high) const { return pack<kBFloat16>(low, high); }
  u32 pack_f16(float low, float high) const { return pack<kFloat16>(low, high); }
  u32 multiply_f16(u32 a, u32 b) const {
    const auto product = [&](u32 shift) {
      return decode<kFloat16>(static_cast<std::uint16_t>(a >> shift)) *
             decode<kFloat16>(static_cast<std::uint16_t>(b >> shift));
    };
    return pack_f16(product(0), product(16));
  }
  // The NaN of an operand is not seen.
  u32 largest_f16(u32 a, u32 b) const {
    const auto larger = [&](u32 shift) {
      return std::fmax(decode<kFloat16>(static_cast<std::uint16_t>(a >> shift)),
                       std::fabs(decode<kFloat16>(static_cast<std::uint16_t>(b >> shift))));
    };
    return pack_f16(larger(0), larger(16));
  }
  // prmt: byte i is byte selector[4 i + 2 : 4 i] of the eight, or, where bit
  // 4 i + 3 is set, eight times that byte's sign.
  u32 permute_bytes(u32 low, u32 high, u32 selector) const {
    const u64 bytes = u64{high} << 32 | low;
    u32 chosen = 0;
    for (u32 i = 0; i < 32; i += 8) {
      const u32 choice = selector >> (i / 2);
      const u32 byte = static_cast<u32>(bytes >> (choice & 7U) * 8 & 0xFFU);
      chosen |= ((choice & 8U) == 0 ? byte : (byte >> 7) * 0xFFU) << i;
    }
    return chosen;
  }
  static constexpr bool has_fp8 = true;
  u32 unpack_e4m3(u32 codes) const {
    const auto value = [&](u32 shift) {
      return decode<kE4M3>(static_cast<std::uint8_t>(codes >> shift));
    };
    return pack_f16(value(0), value(8));
  }
  u32 pack_e4m3(float low, float high) const { return pack_saturated<kE4M3>(low, high); }
  u32 pack_e5m2(float low, float high) const { return pack_saturated<kE5M2>(low, high); }

  // --- memory (machine_memory.cpp) ---
  template <class T>
  T load_shared(u32 address, Where where = Where::current()) {
    return load<T>(*t_.cta, address, where);
  }
  template <class T>
  void store_shared(u32 address, T value, Where where = Where::current()) {
    store(*t_.cta, address, value, where);
  }
  template <class T>
  T load_cluster(u32 address, u32 rank, Where where = Where::current()) {
    return load<T>(peer(rank, where), address, where);
  }
  template <class T>
  void store_cluster(u32 address, u32 rank, T value, Where where = Where::current()) {
    store(peer(rank, where), address, value, where);
  }
  void stmatrix4(u32 address, u32 r0, u32 r1, u32 r2, u32 r3, Where where = Where::current());
  void stmatrix4_transposed(u32 address, u32 r0, u32 r1, u32 r2, u32 r3,
                            Where where = Where::current());
  void ldmatrix4(u32 address, u32 (&r)[4], Where where = Where::current());
  void cp_async16(u32 address, const void* global, u32 bytes, Where where = Where::current());
  void cp_async_commit();
  template <u32 n>
  void cp_async_wait(Where where = Where::current()) {
    cp_async_wait_until(n, where);
  }
  template <class T>
  T load_global(const T* from, Where where = Where::current()) {
    T value;
    std::memcpy(&value, s_.global(from, sizeof(T), where), sizeof(T));
    return value;
  }
  template <class T>
  T load_global_stream(const T* from, Where where = Where::current()) {
    return load_global(from, where);
  }
  template <class T>
  void store_global(T* to, T value, Where where = Where::current()) {
    std::memcpy(s_.global(to, sizeof(T), where), &value, sizeof(T));
  }
  u32 add_release(u32* counter, u32 value, Where where = Where::current());
  u32 load_acquire(const u32* counter, Where where = Where::current());

  // --- meetings (machine_meetings.cpp) ---
  template <class T>
  T shuffle(T value, u32 source, Where where = Where::current()) {
    static_assert(sizeof(T) == 4);
    u32 bits;
    std::memcpy(&bits, &value, 4);
    bits = shuffle_bits(bits, source, where);
    std::memcpy(&value, &bits, 4);
    return value;
  }
  bool elect(Where where = Where::current());
  void sync_warp(Where where = Where::current());
  void sync_named(u32 id, u32 threads, Where where = Where::current());
  void cluster_sync(Where where = Where::current());
  void grid_wait() {}
  void grid_launch() {}
  template <u32 n>
  void registers_increase(Where where = Where::current()) {
    set_registers(n, true, where);
  }
  template <u32 n>
  void registers_decrease(Where where = Where::current()) {
    set_registers(n, false, where);
  }
  void work(int slots, Where where = Where::current());

  // --- mbarriers (machine_barriers.cpp) ---
  void mbarrier_init(u32 address, u32 count, Where where = Where::current());
  void fence_mbarrier_init();
  void mbarrier_arrive(u32 address, Where where = Where::current());
  void mbarrier_arrive_cluster(u32 address, u32 rank, Where where = Where::current());
  void mbarrier_arrive_cluster_release(u32 address, u32 rank, Where where = Where::current());
  void mbarrier_expect(u32 address, u32 bytes, Where where = Where::current());
  void mbarrier_wait(u32 address, u32 parity, Where where = Where::current());
  void mbarrier_wait_cluster(u32 address, u32 parity, Where where = Where::current());

  // --- TMA (machine_tma.cpp) ---
  void tma_load(const TensorMap& map, u32 destination, u32 barrier, int x, int y,
                Where where = Where::current()) {
    load_box(map, 2, destination, barrier, {x, y, 0}, 1U << cta_rank(), where);
  }
  void tma_load(const TensorMap& map, u32 destination, u32 barrier, int x, int y, u32 cta_mask,
                Where where = Where::current()) {
    load_box(map, 2, destination, barrier, {x, y, 0}, cta_mask, where);
  }
  void tma_load_3d(const TensorMap& map, u32 destination, u32 barrier, int x, int y, int z,
                   Where where = Where::current()) {
    load_box(map, 3, destination, barrier, {x, y, z}, 1U << cta_rank(), where);
  }
  void tma_store(const TensorMap& map, u32 source, int x, int y, Where where = Where::current());
  void tma_store_commit();
  template <u32 n>
  void tma_store_wait_read(Where where = Where::current()) {
    tma_store_wait_until(n, where);
  }
  void fence_async() { t_.cta->shared.fence(s_.actor(t_)); }

  // --- tensor cores (machine_wgmma.cpp) ---
  void wgmma_fence(Where where = Where::current());
  template <MmaType type, u32 n>
  void wgmma(Accumulator<type> (&sums)[n / 2], u64 a, u64 b, bool accumulate,
             Where where = Where::current()) {
    static_assert(is_wgmma_width(n, type), "a width of wgmma that kWgmmaWidths has for the type");
    issue(type, n, sums, a, b, accumulate, where);
  }
  void wgmma_commit(Where where = Where::current());
  template <u32 n, class SumsOfKernel>
  void wgmma_wait(SumsOfKernel& /*sums*/, Where where = Where::current()) {
    wgmma_wait_until(n, where);
  }
  template <MmaType type>
  void mma_sync(Accumulator<type> (&sums)[4], const u32 (&a)[4], const u32 (&b)[2],
                Where where = Where::current()) {
    multiply_fragments(type, sums, a, b, where);
  }

 private:
  using Coordinates = std::array<int, 3>;
  static constexpr FloatFormat kE4M3{3, 7, 0x7E, 0, 0x7F, 0x80, false};
  static constexpr FloatFormat kE5M2{2, 15, 0x7B, 0x7C, 0x7E, 0x80, false};

  // cvt.rn: beyond the largest is infinite, every NaN 0x7FFF.
  template <FloatFormat format>
  static u32 pack(float low, float high) {
    const auto code = [](float x) { return x == x ? encode<format>(x, Overflow::ieee) : 0x7FFFU; };
    return code(low) | code(high) << 16;
  }
  // cvt.rn.satfinite: beyond the largest and infinite is the largest, every NaN 0x7F.
  template <FloatFormat format>
  static u32 pack_saturated(float low, float high) {
    const auto code = [](float x) {
      if (x != x) return 0x7FU;
      const float bounded = x > format.max() ? format.max() : x < -format.max() ? -format.max() : x;
      return encode<format>(bounded);
    };
    return code(low) | code(high) << 8;
  }
  template <class T>
  T load(Cta& cta, u32 address, const Where& where) {
    static_assert((sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16) &&
                  std::is_trivially_copyable_v<T>);
    T value;
    s_.count_access(t_, address, sizeof(T), where);
    cta.shared.load(address, sizeof(T), &value, s_.actor(t_), where);
    return value;
  }
  template <class T>
  void store(Cta& cta, u32 address, T value, const Where& where) {
    static_assert((sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16) &&
                  std::is_trivially_copyable_v<T>);
    s_.count_access(t_, address, sizeof(T), where);
    cta.shared.store(address, sizeof(T), &value, s_.actor(t_), where);
  }
  Cta& peer(u32 rank, const Where& where);
  void store_matrices(u32 address, const std::array<u32, 4>& r, bool transposed,
                      const Where& where);
  void cp_async_wait_until(u32 groups, const Where& where);
  u32 shuffle_bits(u32 bits, u32 source, const Where& where);
  void set_registers(u32 count, bool increase, const Where& where);
  MBarrier& barrier(Cta& cta, u32 address, const Where& where);
  void arrive_at(u32 address, u32 rank, bool releases, const Where& where);
  void wait_for(u32 address, u32 parity, bool cluster, const Where& where);
  void load_box(const TensorMap& map, int rank, u32 destination, u32 barrier, Coordinates from,
                u32 cta_mask, const Where& where);
  void tma_store_wait_until(u32 groups, const Where& where);
  void issue(MmaType type, u32 columns, void* sums, u64 a, u64 b, bool accumulate,
             const Where& where);
  void wgmma_wait_until(u32 groups, const Where& where);
  void multiply_fragments(MmaType type, void* sums, const u32* a, const u32* b, const Where& where);

  Simulation& s_;
  Thread& t_;
};

/// Runs `kernel(Machine)` in every thread of a launch; a Fault says which rule was broken where.
template <class Kernel>
Counters simulate(const Launch& launch, const Options& options, const Kernel& kernel) {
  Simulation simulation(launch, options);
  simulation.run([&](Thread& thread) { kernel(Machine(simulation, thread)); });
  return simulation.counters;
}

}  // namespace octavo::cuda::simulator
