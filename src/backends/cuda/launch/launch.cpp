// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/launch/launch.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>

#include "backends/cuda/launch/images.hpp"
#include "core/devices/cuda_devices.hpp"
#include "core/error.hpp"

namespace octavo::cuda {
namespace {

constexpr std::size_t kKernels = static_cast<std::size_t>(KernelId::count);

constexpr std::array<const char*, kKernels> kNames{
#define OCTAVO_DENSE_INSTANCE(name, ...) "octavo_dense_" #name,
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
#define OCTAVO_FEW_ROWS_INSTANCE(name, ...) "octavo_few_rows_" #name,
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
#define OCTAVO_MMA_INSTANCE(name, ...) "octavo_mma_" #name "_large", "octavo_mma_" #name "_small",
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
#define OCTAVO_PASS_KERNEL(name, kernel) "octavo_" #name,
#include "backends/cuda/kernels/pass_instances.inc"
#undef OCTAVO_PASS_KERNEL
};

// Which image has a kernel, by how many each table has, in the order of KernelId.
constexpr std::size_t kDense = 0
#define OCTAVO_DENSE_INSTANCE(...) +1
#include "backends/cuda/kernels/sm90/dense_instances.inc"
#undef OCTAVO_DENSE_INSTANCE
    ;
constexpr std::size_t kFewRows = 0
#define OCTAVO_FEW_ROWS_INSTANCE(...) +1
#include "backends/cuda/kernels/sm90/few_rows_instances.inc"
#undef OCTAVO_FEW_ROWS_INSTANCE
    ;
constexpr std::size_t kMma = 0
#define OCTAVO_MMA_INSTANCE(...) +2
#include "backends/cuda/kernels/sm80/mma_instances.inc"
#undef OCTAVO_MMA_INSTANCE
    ;
Image image_of(KernelId kernel) noexcept {
  const auto index = static_cast<std::size_t>(kernel);
  if (index < kDense) return Image::dense;
  if (index < kDense + kFewRows) return Image::few_rows;
  return index < kDense + kFewRows + kMma ? Image::mma : Image::portable;
}

struct Library {
  std::once_flag once;
  DriverLibrary* handle = nullptr;
  Status status;
};
std::array<Library, kImages> libraries;

// Kernels are found once; on each device they are then told how much shared memory they may have.
struct Found {
  std::atomic<DriverKernel*> kernel{nullptr};
  std::atomic<std::uint64_t> ready_on{0};  // a bit a device
};
std::array<Found, kKernels> found;

Status open_library(Image image, DriverLibrary*& handle) noexcept {
  Library& library = libraries[static_cast<std::size_t>(image)];
  std::call_once(library.once, [&] {
    library.status = driver_status(driver()->load_library(&library.handle, image_data(image),
                                                          nullptr, nullptr, 0, nullptr, nullptr, 0),
                                   "CUDA kernels", "must be machine code that the driver loads");
  });
  handle = library.handle;
  return library.status;
}

Status find_kernel(KernelId id, const CudaDevice& device, std::uint32_t shared_bytes,
                   DriverKernel*& kernel) noexcept {
  Found& entry = found[static_cast<std::size_t>(id)];
  kernel = entry.kernel.load(std::memory_order_acquire);
  if (kernel == nullptr) {
    DriverLibrary* library = nullptr;
    OCTAVO_TRY(open_library(image_of(id), library));
    OCTAVO_TRY(driver_status(driver()->kernel(&kernel, library, kernel_name(id)), kernel_name(id),
                             "must be among the kernels of this build"));
    entry.kernel.store(kernel, std::memory_order_release);
  }
  const std::uint64_t bit = std::uint64_t{1} << (static_cast<unsigned>(device.handle) % 64U);
  if ((entry.ready_on.load(std::memory_order_acquire) & bit) != 0) return {};
  OCTAVO_TRY(
      driver_status(driver()->set_kernel(KernelAttribute::most_shared_bytes,
                                         static_cast<int>(shared_bytes), kernel, device.handle),
                    kernel_name(id), "must find as much shared memory as it asks for"));
  entry.ready_on.fetch_or(bit, std::memory_order_release);
  return {};
}

}  // namespace

const char* kernel_name(KernelId kernel) noexcept {
  return kNames[static_cast<std::size_t>(kernel)];
}

Status launch(KernelId kernel, const LaunchShape& shape, const void* params,
              const Place& place) noexcept {
  const CudaDevice* device = find_device(place.device.index);
  if (device == nullptr) return unusable(kernel_name(kernel), place.device.index);
  const CurrentContext current(*device);
  DriverKernel* function = nullptr;
  OCTAVO_TRY(find_kernel(kernel, *device, shape.shared_bytes, function));
  void* arguments[] = {const_cast<void*>(params)};
  const DriverResult result =
      driver()->launch(function, shape.blocks, 1, 1, shape.threads, 1, 1, shape.shared_bytes,
                       place.stream, arguments, nullptr);
  if (result == kSuccess) return {};
  const Status why = driver_status(result, "launch", "must be accepted");
  return fail(why.code(), "{}: {} ({} blocks of {} threads, {} bytes of shared memory, cuda:{})",
              kernel_name(kernel), why.message(), shape.blocks, shape.threads, shape.shared_bytes,
              place.device.index);
}

std::uint32_t multiprocessors(const Place& place) noexcept {
  const CudaDevice* device = find_device(place.device.index);
  return device != nullptr ? device->multiprocessors : 1;
}

std::uint32_t blocks_for(std::int64_t pieces, const Place& place) noexcept {
  constexpr std::int64_t kPerMultiprocessor = 8;
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(pieces, 1, kPerMultiprocessor * multiprocessors(place)));
}

}  // namespace octavo::cuda
