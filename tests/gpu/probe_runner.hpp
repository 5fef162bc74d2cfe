// SPDX-License-Identifier: Apache-2.0
// Runs a probe: on a device (probe_device.cpp), or on the simulator (probe_simulator.cpp), which
// tests this test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpu/probes.hpp"

namespace octavo::test {

enum class ProbeId : std::uint8_t {
#define OCTAVO_PROBE(type) wgmma_##type, mma_sync_##type,
#include "gpu/probe_types.inc"
#undef OCTAVO_PROBE
  count
};

/// How many tiles of each type are asked for.
std::uint32_t probe_tiles();

struct ProbeShape {
  std::uint32_t threads, shared_bytes;
  std::size_t words;  ///< of sums
};

/// Launches a probe with its `sums` at memory for shape.words words, and gives them back. `params`
/// begins with their address, which it sets.
std::vector<std::uint32_t> run_probe(ProbeId id, const ProbeShape& shape, void* params);

template <class Probe>
std::vector<std::uint32_t> run_probe(ProbeId id, typename Probe::Params params) {
  return run_probe(id,
                   {Probe::kThreads, Probe::kSharedBytes,
                    std::size_t{params.tiles} * Probe::kSums * Probe::kThreads},
                   &params);
}

}  // namespace octavo::test
