// SPDX-License-Identifier: Apache-2.0
// What kernels that break a rule of the machine begin with.
#pragma once

#include <cstdint>

#include "backends/cuda/machine/layout.hpp"
#include "simulator_kit.hpp"

namespace octavo::test {

using cuda::MmaType;
using u32 = std::uint32_t;

constexpr u32 kBar = 32768;  // where these kernels keep an mbarrier

// A tile of 64 rows by 128 bytes that is loaded once: what most of these kernels begin with.
struct Tile {
  ByteMatrix bytes{64, 128};
  TensorMap map = bytes.map(64);
};

inline void make_barrier(Machine& m, u32 count = 1) {
  if (m.tid() == 0) {
    m.mbarrier_init(kBar, count);
    m.fence_mbarrier_init();
  }
  m.cluster_sync();
}

inline void load_tile(Machine& m, const TensorMap& map, u32 to = 0) {
  m.mbarrier_expect(kBar, 64 * 128);
  m.tma_load(map, to, kBar, 0, 0);
}

inline void multiply_tile(Machine& m, std::int32_t (&sums)[32]) {
  m.wgmma<MmaType::s8_s8, 64>(sums, cuda::tile_descriptor(0), cuda::tile_descriptor(0), false);
}

// Warps 0 to 3 with a tile that has landed and been multiplied by `kernel`.
template <class Kernel>
auto with_tile(const TensorMap& map, const Kernel& kernel) {
  return [&map, kernel](Machine m) {
    make_barrier(m);
    if (m.tid() == 0) load_tile(m, map);
    m.mbarrier_wait(kBar, 0);
    kernel(m);
  };
}

}  // namespace octavo::test
