// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/passes/passes.hpp"
#include "cuda/device_kit.hpp"
#include "support/devices/simulated_driver.hpp"

namespace octavo::test {

void install_device() { install_simulated_driver(); }
TestedPasses tested() { return {&cuda::kPasses, kHopper}; }

}  // namespace octavo::test
