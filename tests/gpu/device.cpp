// SPDX-License-Identifier: Apache-2.0
// The machine's first CUDA device: as the one that tests of the backend run on, and, by the general
// kernels, whose bits are the reference's, as the far one of tests/far.
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "backends/cuda/passes/passes.hpp"
#include "core/devices/cuda_devices.hpp"
#include "cuda/device_kit.hpp"
#include "support/devices/far_device.hpp"

namespace octavo::test {

// Lines are chosen by what the device takes, before main(): without one there is nothing to run.
void install_device() {
  if (const char* why = cuda::device_missing(kHopper.index); why != nullptr) {
    std::fprintf(stderr, "gpu_test: skipped: %s\n", why);
    std::_Exit(77);
  }
}

TestedPasses tested() { return {&cuda::kPasses, kHopper}; }

const Device kFar = kHopper;
const std::string kFarName = "cuda:0";
const char* const kFarBackend = "cuda";
void* const kFarStream = reinterpret_cast<void*>(2);  // CU_STREAM_PER_THREAD
const std::int64_t kFarDepth = std::numeric_limits<std::int64_t>::max();

void install_far_device() {}

// Every call's; what ran is not counted here.
std::int64_t far_work() {
  static std::int64_t asked = 0;
  return ++asked;
}

}  // namespace octavo::test
