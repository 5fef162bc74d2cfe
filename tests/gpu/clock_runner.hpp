// SPDX-License-Identifier: Apache-2.0
// Runs a probe of the clock: on a device (probe_device.cpp), or on the simulator
// (probe_simulator.cpp).
#pragma once

#include <cstdint>

#include "gpu/clock_probes.hpp"

namespace octavo::test {

enum class ClockProbe : std::uint8_t {
#define OCTAVO_CLOCK_PROBE(name, ...) name,
#include "gpu/clock_probes.inc"
#undef OCTAVO_CLOCK_PROBE
};

/// A matrix of rows of 128 bytes, and boxes of so many of them.
inline cuda::TensorMap boxes_of(void* memory, std::int64_t bytes, int box_rows) {
  cuda::TensorMap map;
  map.base = memory;
  map.extent[0] = map.pitch[1] = cuda::kRowBytes;
  map.extent[1] = bytes / cuda::kRowBytes;
  map.box[0] = cuda::kRowBytes;
  map.box[1] = box_rows;
  map.element_bytes = 1;
  return map;
}

struct ClockRun {
  ClockProbe probe;
  bool everywhere;     ///< a CTA on each multiprocessor; or one alone
  std::int64_t bytes;  ///< of the matrix: what L2 holds, or much more
};

/// Cycles of a multiprocessor for one repetition, where it runs.
double cycles_of(const ClockRun& run);

/// Until a device has the clock that it has under load.
void warm_up();

/// By which factor figures may differ: one device from another, whose memory and L2 have other
/// clocks, or the simulator from what it is fitted to.
extern const double kClockFactor;

/// What it is that runs: "simulator", or a device's name.
const char* clock_of();

}  // namespace octavo::test
