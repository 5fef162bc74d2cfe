// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <vector>

#include "gpu/clock_runner.hpp"
#include "gpu/probe_runner.hpp"
#include "simulator/machine.hpp"

namespace octavo::test {
namespace {

template <class Probe>
void simulate(const ProbeShape& shape, const void* params) {
  cuda::simulator::Launch launch;
  launch.blocks = 2;
  launch.threads = shape.threads;
  launch.shared_bytes = shape.shared_bytes;
  cuda::simulator::simulate(launch, {}, [params](cuda::simulator::Machine m) {
    Probe::run(m, *static_cast<const typename Probe::Params*>(params));
  });
}

constexpr void (*kProbes[])(const ProbeShape&, const void*) = {
#define OCTAVO_PROBE(type) \
  &simulate<WgmmaProbe<MmaType::type>>, &simulate<MmaSyncProbe<MmaType::type>>,
#include "gpu/probe_types.inc"
#undef OCTAVO_PROBE
};

}  // namespace

std::uint32_t probe_tiles() { return 60; }

std::vector<std::uint32_t> run_probe(ProbeId id, const ProbeShape& shape, void* params) {
  std::vector<std::uint32_t> sums(shape.words);
  std::uint32_t* const address = sums.data();
  std::memcpy(params, &address, sizeof(address));
  kProbes[static_cast<std::size_t>(id)](shape, params);
  return sums;
}

namespace {

template <class Probe>
double simulate_clock(const ClockRun& run) {
  constexpr std::int64_t kMost = std::int64_t{1} << 22;  // more is not needed: memory has one rate
  std::vector<std::uint8_t> memory(static_cast<std::size_t>(std::min(run.bytes, kMost)) + 128);
  ClockParams<cuda::TensorMap> params;
  auto* const aligned =
      memory.data() + (128 - reinterpret_cast<std::uintptr_t>(memory.data()) % 128);
  params.map = boxes_of(aligned, std::min(run.bytes, kMost), Probe::kBoxRows);
  params.boxes = static_cast<std::uint32_t>(params.map.extent[1] / Probe::kBoxRows);
  cuda::simulator::Launch launch;
  launch.cluster = launch.blocks = Probe::kCluster;
  launch.threads = Probe::kThreads;
  launch.shared_bytes = Probe::kSharedBytes;
  cuda::simulator::Options options;
  options.timed = true;
  options.arithmetic = false;
  if (run.bytes <= kMost * 2) options.clock.hbm_bytes = 1e9;  // of L2
  const auto cycles = [&](std::uint32_t repeats) {
    params.repeats = repeats;
    return cuda::simulator::simulate(launch, options,
                                     [&](cuda::simulator::Machine m) { Probe::run(m, params); })
        .cycles;
  };
  constexpr std::uint32_t kRepeats = 100;
  return (cycles(2 * kRepeats) - cycles(kRepeats)) / kRepeats;
}

constexpr double (*kClocks[])(const ClockRun&) = {
#define OCTAVO_CLOCK_PROBE(name, ...) &simulate_clock<__VA_ARGS__>,
#include "gpu/clock_probes.inc"
#undef OCTAVO_CLOCK_PROBE
};

}  // namespace

double cycles_of(const ClockRun& run) { return kClocks[static_cast<std::size_t>(run.probe)](run); }

void warm_up() {}
const double kClockFactor = 1.1;
const char* clock_of() { return "the simulator"; }

}  // namespace octavo::test
