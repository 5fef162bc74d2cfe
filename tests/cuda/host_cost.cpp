// SPDX-License-Identifier: Apache-2.0
// What a call on a device costs the host, without the driver: microseconds of calls whose launches,
// tensor maps and allocations a driver takes that does nothing. What cuLaunchKernel and
// cuTensorMapEncodeTiled cost themselves is a device's to say.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <ctime>
#include <functional>
#include <vector>

#include "core/devices/cuda_driver.hpp"
#include "octavo/octavo.hpp"

namespace octavo {
namespace {

using namespace cuda;

constexpr Device kDevice{DeviceType::cuda, 0};

template <class Handle>
Handle* handle() {
  static char place;
  return reinterpret_cast<Handle*>(&place);
}

// Memory is addresses that nobody touches, of eight places in turn: how often maps are new.
DriverResult allocate(DevicePointer* memory, std::size_t, DriverPool*, void*) {
  static std::atomic<unsigned> count = 0;
  *memory = (std::uint64_t{1} << 44) + (std::uint64_t{count++ % 8} << 32);
  return kSuccess;
}
DriverResult attribute(int* value, DeviceAttribute which, DriverDevice) {
  *value = which == DeviceAttribute::major ? 9 : which == DeviceAttribute::minor ? 0 : 132;
  return kSuccess;
}

const Driver kDriver{
    .init = [](unsigned) { return kSuccess; },
    .error_name = [](DriverResult, const char**) { return 1; },
    .error_string = [](DriverResult, const char**) { return 1; },
    .device_count = [](int* count) { return *count = 1, kSuccess; },
    .device = [](DriverDevice* device, int index) { return *device = index, kSuccess; },
    .device_name = [](char* name, int, DriverDevice) { return *name = '\0', kSuccess; },
    .device_attribute = &attribute,
    .retain_context = [](DriverContext** c,
                         DriverDevice) { return *c = handle<DriverContext>(), kSuccess; },
    .current_context = [](DriverContext** c) { return *c = handle<DriverContext>(), kSuccess; },
    .push_context = [](DriverContext*) { return kSuccess; },
    .pop_context = [](DriverContext** c) { return *c = handle<DriverContext>(), kSuccess; },
    .create_pool = [](DriverPool** pool,
                      const PoolProperties*) { return *pool = handle<DriverPool>(), kSuccess; },
    .set_pool = [](DriverPool*, PoolAttribute, void*) { return kSuccess; },
    .allocate = &allocate,
    .release = [](DevicePointer, void*) { return kSuccess; },
    .copy = [](DevicePointer, DevicePointer, std::size_t, void*) { return kSuccess; },
    .wait = [](void*) { return kSuccess; },
    .is_capturing = [](void*, int* status) { return *status = 0, kSuccess; },
    .load_library = [](DriverLibrary** library, const void*, void*, void**, unsigned, void*, void**,
                       unsigned) { return *library = handle<DriverLibrary>(), kSuccess; },
    .kernel = [](DriverKernel** kernel, DriverLibrary*,
                 const char*) { return *kernel = handle<DriverKernel>(), kSuccess; },
    .set_kernel = [](KernelAttribute, int, DriverKernel*, DriverDevice) { return kSuccess; },
    .launch = [](DriverKernel*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                 unsigned, void*, void**, void**) { return kSuccess; },
    .encode_map = [](EncodedMap*, MapElement, std::uint32_t, void*, const std::uint64_t*,
                     const std::uint64_t*, const std::uint32_t*, const std::uint32_t*, int,
                     MapSwizzle, MapPromotion, int) { return kSuccess; },
};

// Microseconds of this thread's time.
double now() {
  std::timespec t{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

// Of a call, the median of rounds.
double cost_of(const std::function<void()>& call) {
  constexpr int kRounds = 21, kCalls = 2000;
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const double start = now();
    for (int i = 0; i < kCalls; ++i) call();
    rounds.push_back((now() - start) / kCalls);
  }
  std::ranges::nth_element(rounds, rounds.begin() + kRounds / 2);
  return rounds[kRounds / 2];
}

TensorView on_device(DType dtype, std::initializer_list<std::int64_t> shape, int place) {
  TensorView view(
      reinterpret_cast<void*>((std::uint64_t{1} << 45) + (static_cast<std::uint64_t>(place) << 33)),
      dtype, shape);
  view.device = kDevice;
  return view;
}

// A product of codes with scales of rows and columns; A has another address in every call.
double product(DType codes, std::int64_t m, bool new_output) {
  constexpr std::int64_t kN = 4096, kK = 4096;
  const TensorView b = on_device(codes, {kN, kK}, 0).transposed(),
                   scale_a = on_device(DType::float32, {m, 1}, 1),
                   scale_b = on_device(DType::float32, {1, kN}, 2),
                   out = on_device(DType::bfloat16, {m, kN}, 3);
  ScaledMmOptions options{.out_dtype = DType::bfloat16};
  if (!new_output) options.out = out;
  int turn = 0;
  return cost_of([&] {
    const TensorView a = on_device(codes, {m, kK}, 4 + ++turn % 1000);
    Operand left(a), right(b);
    left.scale[0] = {ScaleKind::tensor, 1.0F, scale_a, 1, kWholeExtent};
    right.scale[0] = {ScaleKind::tensor, 1.0F, scale_b, kWholeExtent, 1};
    scaled_mm(left, right, options);
  });
}

void show() {
  fmt::print("{:<44} us\n", "host, without the driver's own time");
  for (const DType codes : {DType::int8, DType::float8_e4m3fn}) {
    for (const std::int64_t m : {1, 256, 8192}) {
      for (const bool new_output : {false, true}) {
        fmt::print("{:<44} {:.2f}\n",
                   fmt::format("scaled_mm {} {}x4096x4096, {}", name(codes), m,
                               new_output ? "a new output" : "into an output"),
                   product(codes, m, new_output));
      }
    }
  }
}

}  // namespace
}  // namespace octavo

int main() {
  octavo::cuda::set_driver(octavo::kDriver);
  octavo::show();
  return 0;
}
