// SPDX-License-Identifier: Apache-2.0
// Launches of the simulator's kernels on host memory, at once.
#include <algorithm>
#include <exception>

#include "backends/cuda/launch.hpp"
#include "backends/cuda/simulated/kernels.hpp"
#include "core/error.hpp"

namespace octavo::cuda {

Status launch(KernelId kernel, const LaunchShape& shape, const void* params,
              const Place&) noexcept {
  const simulated::KernelRow& row = simulated::kernel_row(kernel);
  simulator::Launch launch;
  launch.blocks = shape.blocks;
  launch.cluster = row.cluster;
  launch.threads = shape.threads;
  launch.shared_bytes = shape.shared_bytes;
  launch.registers = row.registers;
  try {
    row.run(launch, {}, params);
  } catch (const std::exception& error) {
    return fail(Code::device, "{}", error.what());
  }
  return {};
}

std::uint32_t blocks_for(std::int64_t pieces, const Place&) noexcept {
  return static_cast<std::uint32_t>(std::min<std::int64_t>(pieces, 4));
}

}  // namespace octavo::cuda
