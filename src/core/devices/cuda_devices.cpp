// SPDX-License-Identifier: Apache-2.0
#include "core/devices/cuda_devices.hpp"

#include <algorithm>
#include <mutex>

#include "core/error.hpp"

namespace octavo::cuda {
namespace {

constexpr std::int32_t kMostDevices = 64;
// What a pool keeps when a stream has been waited for: enough for the workspaces of most calls.
constexpr std::uint64_t kKeptBytes = std::uint64_t{64} << 20;

struct Entry {
  std::once_flag once;
  CudaDevice device;
  const char* missing = nullptr;
};
std::array<Entry, kMostDevices> entries;

// Null where all of it succeeds.
const char* open_device(std::int32_t index, CudaDevice& device) noexcept {
  const Driver& d = *driver();
  int count = 0;
  if (d.device_count(&count) != kSuccess || count == 0) return "the driver finds no device";
  if (index >= count) return "there are fewer devices";
  if (d.device(&device.handle, index) != kSuccess) return "the driver refuses the device";
  int multiprocessors = 0;
  const bool known =
      d.device_attribute(&device.major, DeviceAttribute::major, device.handle) == kSuccess &&
      d.device_attribute(&device.minor, DeviceAttribute::minor, device.handle) == kSuccess &&
      d.device_attribute(&multiprocessors, DeviceAttribute::multiprocessors, device.handle) ==
          kSuccess &&
      d.device_name(device.name.data(), static_cast<int>(device.name.size()), device.handle) ==
          kSuccess;
  if (!known) return "the driver does not say what the device is";
  device.multiprocessors = static_cast<std::uint32_t>(std::max(multiprocessors, 1));
  if (device.major < 8) return "a compute capability below 8.0";
  if (d.retain_context(&device.context, device.handle) != kSuccess)
    return "the device has no primary context: it is in use by others, or out of memory";
  const CurrentContext current(device);
  PoolProperties properties;
  properties.device = device.handle;
  std::uint64_t kept = kKeptBytes;
  const bool pooled = d.create_pool(&device.pool, &properties) == kSuccess &&
                      d.set_pool(device.pool, PoolAttribute::release_threshold, &kept) == kSuccess;
  return pooled ? nullptr : "the device has no memory pools";
}

const Entry* entry_of(std::int32_t index) noexcept {
  if (index < 0 || index >= kMostDevices || driver() == nullptr) return nullptr;
  Entry& entry = entries[static_cast<std::size_t>(index)];
  std::call_once(entry.once, [&] { entry.missing = open_device(index, entry.device); });
  return &entry;
}

DevicePointer pointer(const void* address) noexcept {
  return reinterpret_cast<DevicePointer>(address);
}

void* allocate(std::size_t bytes, const Place& place) noexcept {
  const CudaDevice* device = find_device(place.device.index);
  if (device == nullptr) return nullptr;
  const CurrentContext current(*device);
  DevicePointer memory = 0;
  if (driver()->allocate(&memory, bytes, device->pool, place.stream) != kSuccess) return nullptr;
  return reinterpret_cast<void*>(memory);
}

// A process that ends may have lost its driver already: then nobody needs the memory.
void release(void* memory, std::size_t, const Place& place) noexcept {
  const CudaDevice* device = find_device(place.device.index);
  if (device == nullptr) return;
  const CurrentContext current(*device);
  (void)driver()->release(pointer(memory), place.stream);
}

// The driver may read memory that its owner has pinned later, so that copies from the host are
// waited for: a stream that is captured cannot be.
Status copy(const TensorView& from, const TensorView& to, std::size_t bytes,
            void* stream) noexcept {
  if (bytes == 0) return {};
  const bool upload = on_host(from);
  const CudaDevice* device = find_device(upload ? to.device.index : from.device.index);
  if (device == nullptr) return unusable("copy", upload ? to.device.index : from.device.index);
  const CurrentContext current(*device);
  int capturing = 0;
  if (upload && driver()->is_capturing(stream, &capturing) == kSuccess && capturing != 0)
    return fail(Code::unsupported,
                "copy: stream must not be captured where memory of the host is read; got one "
                "that is");
  OCTAVO_TRY(driver_status(driver()->copy(pointer(to.data), pointer(from.data), bytes, stream),
                           "copy: stream", "must take a copy"));
  if (!upload) return {};
  return driver_status(driver()->wait(stream), "copy: stream", "must run without a failure");
}

Status wait(const Place& place) noexcept {
  const CudaDevice* device = find_device(place.device.index);
  if (device == nullptr) return unusable("wait", place.device.index);
  const CurrentContext current(*device);
  return driver_status(driver()->wait(place.stream), "wait: stream", "must run without a failure");
}

}  // namespace

const CudaDevice* find_device(std::int32_t index) noexcept {
  const Entry* entry = entry_of(index);
  return entry != nullptr && entry->missing == nullptr ? &entry->device : nullptr;
}

const char* device_missing(std::int32_t index) noexcept {
  if (const char* why = driver_missing(); why != nullptr) return why;
  const Entry* entry = entry_of(index);
  return entry != nullptr ? entry->missing : "there are fewer devices";
}

Status unusable(const char* operation, std::int32_t index) noexcept {
  return fail(Code::unavailable, "{}: device must be usable; got cuda:{}: {}", operation, index,
              device_missing(index));
}

CurrentContext::CurrentContext(const CudaDevice& device) noexcept {
  DriverContext* current = nullptr;
  if (driver()->current_context(&current) == kSuccess && current == device.context) return;
  pushed_ = driver()->push_context(device.context) == kSuccess;
}

CurrentContext::~CurrentContext() {
  DriverContext* popped = nullptr;
  if (pushed_) (void)driver()->pop_context(&popped);
}

Status driver_status(DriverResult result, const char* what, const char* rule) noexcept {
  if (result == kSuccess) return {};
  const char *name = nullptr, *text = nullptr;
  (void)driver()->error_name(result, &name);
  (void)driver()->error_string(result, &text);
  return fail(result == kOutOfMemory ? Code::out_of_memory : Code::device, "{} {}; got {}: {}",
              what, rule, name != nullptr ? name : "an unknown error",
              text != nullptr ? text : "the driver has no words for it");
}

const DeviceMemory kCudaMemory{
    .unavailable = &device_missing,
    .allocate = &allocate,
    .release = &release,
    .copy = &copy,
    .wait = &wait,
};

}  // namespace octavo::cuda
