// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <string>

#include "core/cuda/devices.hpp"
#include "gpu/probe_runner.hpp"
#include "octavo/octavo.hpp"

// Read by the assembler from the build folder.
asm(".section .rodata\n.balign 64\n.global octavo_probes\n.hidden octavo_probes\n"
    "octavo_probes:\n.incbin \"" OCTAVO_CUDA_PROBES "\"\n.balign 64\n.previous\n");
extern "C" const unsigned char octavo_probes[];

namespace octavo::test {
namespace {

using namespace cuda;

constexpr const char* kNames[] = {
#define OCTAVO_PROBE(type) "wgmma_" #type, "mma_sync_" #type,
#include "gpu/probe_types.inc"
#undef OCTAVO_PROBE
};

void check(DriverResult result, const char* what) {
  const Status status = driver_status(result, what, "must succeed");
  if (!status.ok()) throw Error(status);
}

DriverLibrary* library() {
  static DriverLibrary* loaded = [] {
    DriverLibrary* handle = nullptr;
    check(driver()->load_library(&handle, octavo_probes, nullptr, nullptr, 0, nullptr, nullptr, 0),
          "probes");
    return handle;
  }();
  return loaded;
}

}  // namespace

// A million of fp8, as the others.
std::uint32_t probe_tiles() { return 1U << 20; }

std::vector<std::uint32_t> run_probe(ProbeId id, const ProbeShape& shape, void* params) {
  const CudaDevice& device = *find_device(0);
  const CurrentContext current(device);
  DriverKernel* kernel = nullptr;
  check(driver()->kernel(&kernel, library(), kNames[static_cast<std::size_t>(id)]), "kernel");
  const Tensor sums = Tensor::empty(int32, {static_cast<std::int64_t>(shape.words)},
                                    {{DeviceType::cuda, 0}, nullptr});
  void* const address = sums.data();
  std::memcpy(params, &address, sizeof(address));
  void* arguments[] = {params};
  check(driver()->launch(kernel, device.multiprocessors * 8, 1, 1, shape.threads, 1, 1,
                         shape.shared_bytes, nullptr, arguments, nullptr),
        "launch");
  const Tensor near = copy(sums, Place{});
  const auto* words = near.data_as<std::uint32_t>();
  return {words, words + shape.words};
}

}  // namespace octavo::test
