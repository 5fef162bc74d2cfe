// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "backends/cuda/launch/tensor_maps.hpp"
#include "core/devices/cuda_devices.hpp"
#include "gpu/clock_runner.hpp"
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

void check_status(const Status& status) {
  if (!status.ok()) throw Error(status);
}
void check(DriverResult result, const char* what) {
  check_status(driver_status(result, what, "must succeed"));
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

// A million of each type; OCTAVO_PROBE_TILES says how many, for a quick look.
std::uint32_t probe_tiles() {
  const char* const asked = std::getenv("OCTAVO_PROBE_TILES");
  return asked != nullptr ? static_cast<std::uint32_t>(std::strtoul(asked, nullptr, 10)) : 1U << 20;
}

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

namespace {

struct ClockKernel {
  const char* name;
  std::uint32_t cluster, threads, shared_bytes;
  int box_rows;
};
constexpr ClockKernel kClocks[] = {
#define OCTAVO_CLOCK_PROBE(name, ...)                                                       \
  {"clock_" #name, __VA_ARGS__::kCluster, __VA_ARGS__::kThreads, __VA_ARGS__::kSharedBytes, \
   __VA_ARGS__::kBoxRows},
#include "gpu/clock_probes.inc"
#undef OCTAVO_CLOCK_PROBE
};

// The median of the CTAs.
double whole(const ClockKernel& row, DriverKernel* kernel, std::uint32_t blocks,
             const ClockParams<EncodedMap>& given) {
  const Tensor cycles = Tensor::empty(int64, {blocks}, {{DeviceType::cuda, 0}, nullptr});
  ClockParams<EncodedMap> params = given;
  params.cycles = static_cast<long long*>(cycles.data());
  void* arguments[] = {&params};
  check(driver()->launch(kernel, blocks, 1, 1, row.threads, 1, 1, row.shared_bytes, nullptr,
                         arguments, nullptr),
        "launch");
  const Tensor near = copy(cycles, Place{});
  std::vector<std::int64_t> all(near.data_as<std::int64_t>(),
                                near.data_as<std::int64_t>() + blocks);
  std::sort(all.begin(), all.end());
  return static_cast<double>(all[all.size() / 2]);
}

}  // namespace

double cycles_of(const ClockRun& run) {
  const CudaDevice& device = *find_device(0);
  const CurrentContext current(device);
  const ClockKernel& row = kClocks[static_cast<std::size_t>(run.probe)];
  DriverKernel* kernel = nullptr;
  check(driver()->kernel(&kernel, library(), row.name), "kernel");
  check(driver()->set_kernel(KernelAttribute::most_shared_bytes, static_cast<int>(row.shared_bytes),
                             kernel, device.handle),
        "shared memory");
  const Tensor matrix = Tensor::empty(uint8, {run.bytes}, {{DeviceType::cuda, 0}, nullptr});
  const TensorMap map = boxes_of(matrix.data(), run.bytes, row.box_rows);
  ClockParams<EncodedMap> params;
  check_status(encode_map(map, matrix.device(), params.map));
  params.boxes = static_cast<std::uint32_t>(map.extent[1] / row.box_rows);
  const std::uint32_t blocks = run.everywhere ? device.multiprocessors : row.cluster;
  constexpr std::uint32_t kRepeats = 1000;
  double least = 0;
  for (int i = 0; i < 5; ++i) {
    params.repeats = kRepeats;
    const double once = whole(row, kernel, blocks, params);
    params.repeats = 2 * kRepeats;
    const double twice = whole(row, kernel, blocks, params);
    const double cycles = (twice - once) / kRepeats;
    if (i == 0 || cycles < least) least = cycles;
  }
  return least;
}

void warm_up() {
  constexpr int kRuns = 100;  // of some milliseconds
  for (int i = 0; i < kRuns; ++i) (void)cycles_of({ClockProbe::products, true, 128 * 8});
}
const double kClockFactor = 2;
const char* clock_of() { return find_device(0)->name.data(); }

}  // namespace octavo::test
