// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cuda/simulator/machine.hpp"
#include "gpu/probe_runner.hpp"

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

}  // namespace octavo::test
