// SPDX-License-Identifier: Apache-2.0
#include "support/devices/simulated_driver.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "backends/cuda/launch/launch.hpp"
#include "backends/cuda/machine/types.hpp"
#include "core/devices/cuda_driver.hpp"
#include "simulator/kernels/every_kernel.hpp"
#include "support/devices/far_memory.hpp"

namespace octavo::test {
namespace {

using namespace cuda;
namespace simulator = cuda::simulator;

// Results of the driver.
enum : DriverResult {
  kInvalidValue = 1,
  kInvalidContext = 201,
  kNoBinary = 209,
  kNotFound = 500,
  kLaunchFailed = 719,
  kCaptureUnsupported = 900,
};

struct DeviceRow {
  const char* name;
  int major, minor, multiprocessors, most_shared_bytes;
};
constexpr DeviceRow kDevices[] = {
    {"simulated Hopper", 9, 0, 4, 227 * 1024},
    {"simulated Ampere", 8, 0, 4, 163 * 1024},
};
constexpr int kDeviceCount = 2;

using Work = std::function<DriverResult()>;

struct Stream {
  std::deque<Work> queue;
  bool captured = false;
};

struct Failure {
  DriverResult result;
  int calls;
};

struct State {
  std::recursive_mutex mutex;
  FarMemory memory;
  std::map<void*, Stream> streams;
  std::vector<std::vector<Work>> graphs;
  std::map<std::string, int> launches;
  std::map<std::string, Failure> failures;
  std::map<std::pair<KernelId, int>, int> shared_bytes;  // that kernels may have on a device
  std::map<DevicePointer, std::size_t> allocated;
  simulator::Options options;
  DriverResult broken = kSuccess;
  std::string fault;
  int encoded = 0;
};

State& state() {
  static State& state = *new State;  // tensors of other statics are released when it would be gone
  return state;
}

thread_local std::vector<DriverContext*> contexts;

// Handles: addresses of nothing, numbered.
template <class Handle>
Handle* handle_of(int number) {
  return reinterpret_cast<Handle*>(std::uintptr_t{0x1000} + static_cast<unsigned>(number));
}
template <class Handle>
int number_of(Handle* handle) {
  return static_cast<int>(reinterpret_cast<std::uintptr_t>(handle) - 0x1000);
}

void* address(DevicePointer pointer) { return reinterpret_cast<void*>(pointer); }

// Memory of one device, as its kernels see it.
class DeviceAddresses final : public simulator::GlobalMemory {
 public:
  explicit DeviceAddresses(int device) : device_(device) {}
  void* find(const void* address, std::size_t bytes) noexcept override {
    const FarMemory& memory = state().memory;
    if (memory.owner(address, bytes) != device_) return nullptr;
    return const_cast<void*>(memory.near(address));
  }

 private:
  int device_;
};

DriverResult queue(void* stream, Work work) {
  state().streams[stream].queue.push_back(std::move(work));
  return kSuccess;
}

DriverResult run_queue(void* stream) {
  std::deque<Work>& queue = state().streams[stream].queue;
  while (!queue.empty()) {
    const Work work = std::move(queue.front());
    queue.pop_front();
    if (state().broken != kSuccess) continue;
    state().broken = work();
  }
  return state().broken;
}

// ---- the functions ----------------------------------------------------------------------------

// Every one of them: a failure that a test has asked for, or one that a kernel has left.
DriverResult failed(const char* symbol) {
  if (const auto found = state().failures.find(symbol); found != state().failures.end()) {
    if (found->second.calls-- == 0) {
      const DriverResult result = found->second.result;
      state().failures.erase(found);
      return result;
    }
  }
  return state().broken;
}

DriverResult init(unsigned) { return kSuccess; }
DriverResult error_name(DriverResult result, const char** name) {
  switch (result) {
    case kInvalidValue:
      *name = "CUDA_ERROR_INVALID_VALUE";
      break;
    case kOutOfMemory:
      *name = "CUDA_ERROR_OUT_OF_MEMORY";
      break;
    case kInvalidContext:
      *name = "CUDA_ERROR_INVALID_CONTEXT";
      break;
    case kNoBinary:
      *name = "CUDA_ERROR_NO_BINARY_FOR_GPU";
      break;
    case kNotFound:
      *name = "CUDA_ERROR_NOT_FOUND";
      break;
    case kLaunchFailed:
      *name = "CUDA_ERROR_LAUNCH_FAILED";
      break;
    case kCaptureUnsupported:
      *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
      break;
    default:
      return kInvalidValue;
  }
  return kSuccess;
}
DriverResult error_string(DriverResult result, const char** text) {
  *text = result == kLaunchFailed ? state().fault.c_str() : "as the simulated driver says";
  return kSuccess;
}
DriverResult device_count(int* count) {
  *count = kDeviceCount;
  return kSuccess;
}
DriverResult device(DriverDevice* device, int index) {
  *device = index;
  return index < kDeviceCount ? kSuccess : kInvalidValue;
}
DriverResult device_name(char* name, int bytes, DriverDevice device) {
  std::snprintf(name, static_cast<std::size_t>(bytes), "%s", kDevices[device].name);
  return kSuccess;
}
DriverResult device_attribute(int* value, DeviceAttribute attribute, DriverDevice device) {
  const DeviceRow& row = kDevices[device];
  switch (attribute) {
    case DeviceAttribute::major:
      *value = row.major;
      return kSuccess;
    case DeviceAttribute::minor:
      *value = row.minor;
      return kSuccess;
    case DeviceAttribute::multiprocessors:
      *value = row.multiprocessors;
      return kSuccess;
  }
  return kInvalidValue;
}
DriverResult retain_context(DriverContext** context, DriverDevice device) {
  *context = handle_of<DriverContext>(device);
  return kSuccess;
}
DriverResult current_context(DriverContext** context) {
  *context = contexts.empty() ? nullptr : contexts.back();
  return kSuccess;
}
DriverResult push_context(DriverContext* context) {
  contexts.push_back(context);
  return kSuccess;
}
DriverResult pop_context(DriverContext** context) {
  if (contexts.empty()) return kInvalidContext;
  *context = contexts.back();
  contexts.pop_back();
  return kSuccess;
}
int current_device() { return contexts.empty() ? -1 : number_of(contexts.back()); }

DriverResult create_pool(DriverPool** pool, const PoolProperties* properties) {
  *pool = handle_of<DriverPool>(properties->device);
  return kSuccess;
}
DriverResult set_pool(DriverPool*, PoolAttribute, void*) { return kSuccess; }

DriverResult allocate(DevicePointer* memory, std::size_t bytes, DriverPool* pool, void*) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  if (const DriverResult result = failed("cuMemAllocFromPoolAsync"); result != kSuccess)
    return result;
  void* block = state().memory.allocate(bytes, number_of(pool));
  if (block == nullptr) return kOutOfMemory;
  *memory = reinterpret_cast<DevicePointer>(block);
  state().allocated[*memory] = bytes;
  return kSuccess;
}
// Of a graph's, the memory stays where it is: every launch uses the same.
DriverResult release(DevicePointer memory, void* stream) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  if (state().streams[stream].captured) return kSuccess;
  return queue(stream, [memory] {
    state().allocated.erase(memory);
    return state().memory.release(address(memory)) ? kSuccess : kInvalidValue;
  });
}

DriverResult copy(DevicePointer to, DevicePointer from, std::size_t bytes, void* stream) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  if (const DriverResult result = failed("cuMemcpyAsync"); result != kSuccess) return result;
  for (const DevicePointer pointer : {to, from}) {
    const bool lost =
        state().memory.has(address(pointer)) && state().memory.owner(address(pointer), bytes) < 0;
    if (lost) return kInvalidValue;
  }
  return queue(stream, [=] {
    const FarMemory& memory = state().memory;
    std::memcpy(memory.near(address(to)), memory.near(address(from)), bytes);
    return kSuccess;
  });
}

DriverResult wait(void* stream) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  if (state().streams[stream].captured) return kCaptureUnsupported;
  return run_queue(stream);
}

DriverResult is_capturing(void* stream, int* status) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  *status = state().streams[stream].captured ? 1 : 0;
  return kSuccess;
}

// Both images are the same library: its kernels are found by name.
DriverResult load_library(DriverLibrary** library, const void*, void*, void**, unsigned, void*,
                          void**, unsigned) {
  *library = handle_of<DriverLibrary>(0);
  return kSuccess;
}

DriverResult find_kernel(DriverKernel** kernel, DriverLibrary*, const char* name) {
  for (int id = 0; id < static_cast<int>(KernelId::count); ++id) {
    if (std::strcmp(name, kernel_name(static_cast<KernelId>(id))) != 0) continue;
    *kernel = handle_of<DriverKernel>(id);
    return kSuccess;
  }
  return kNotFound;
}

DriverResult set_kernel(KernelAttribute, int value, DriverKernel* kernel, DriverDevice device) {
  const std::lock_guard lock(state().mutex);
  if (value > kDevices[device].most_shared_bytes) return kInvalidValue;
  state().shared_bytes[{static_cast<KernelId>(number_of(kernel)), device}] = value;
  return kSuccess;
}

DriverResult launch(DriverKernel* kernel, unsigned blocks, unsigned blocks_y, unsigned blocks_z,
                    unsigned threads, unsigned threads_y, unsigned threads_z, unsigned shared_bytes,
                    void* stream, void** params, void**) {
  const std::lock_guard lock(state().mutex);
  if (const DriverResult result = failed("cuLaunchKernel"); result != kSuccess) return result;
  const auto id = static_cast<KernelId>(number_of(kernel));
  const int on = current_device();
  if (on < 0) return kInvalidContext;
  const simulated::KernelRow& row = simulated::kernel_row(id);
  if (row.hopper && kDevices[on].major != 9) return kNoBinary;
  const bool fits = blocks > 0 && blocks % row.cluster == 0 && threads == row.threads &&
                    blocks_y * blocks_z * threads_y * threads_z == 1 &&
                    static_cast<int>(shared_bytes) <= state().shared_bytes[{id, on}] &&
                    shared_bytes == row.shared_bytes;
  if (!fits) return kInvalidValue;
  ++state().launches[kernel_name(id)];

  simulator::Launch shape;
  shape.blocks = blocks;
  shape.cluster = row.cluster;
  shape.threads = threads;
  shape.shared_bytes = shared_bytes;
  shape.registers = row.registers;
  struct alignas(TensorMap) Line {
    std::array<char, alignof(TensorMap)> bytes;
  };
  auto lines =
      std::make_shared<std::vector<Line>>((row.params_bytes + sizeof(Line) - 1) / sizeof(Line));
  std::memcpy(lines->data(), params[0], row.params_bytes);
  return queue(stream, [shape, lines, on, &row] {
    DeviceAddresses addresses(on);
    simulator::Options options = state().options;
    options.memory = &addresses;
    options.ampere = kDevices[on].major == 8;
    try {
      row.run(shape, options, lines->data());
    } catch (const std::exception& fault) {
      state().fault = fault.what();
      return DriverResult{kLaunchFailed};
    }
    return DriverResult{kSuccess};
  });
}

// The rules that cuTensorMapEncodeTiled has for maps of 8- to 32-bit elements.
DriverResult encode_map(EncodedMap* encoded, MapElement element, std::uint32_t rank, void* base,
                        const std::uint64_t* extents, const std::uint64_t* pitches,
                        const std::uint32_t* box, const std::uint32_t* steps, int interleave,
                        MapSwizzle swizzle, MapPromotion, int fill) {
  const std::lock_guard lock(state().mutex);
  if (contexts.empty()) return kInvalidContext;
  TensorMap map;
  map.base = base;
  map.rank = static_cast<int>(rank);
  map.element_bytes = 1 << static_cast<int>(element);
  map.swizzle = swizzle == MapSwizzle::bytes_128 ? Swizzle::bytes_128 : Swizzle::none;
  bool right =
      rank >= 1 && rank <= TensorMap::kMostRank && interleave == 0 && fill == 0 &&
      reinterpret_cast<std::uintptr_t>(base) % 16 == 0 &&
      box[0] * static_cast<unsigned>(map.element_bytes) % 16 == 0 &&
      (swizzle == MapSwizzle::none || box[0] * static_cast<unsigned>(map.element_bytes) <= 128);
  for (std::uint32_t d = 0; right && d < rank; ++d) {
    right = extents[d] >= 1 && extents[d] <= std::uint64_t{1} << 32 && box[d] >= 1 &&
            box[d] <= 256 && steps[d] == 1;
    map.extent[d] = static_cast<std::int64_t>(extents[d]);
    map.box[d] = static_cast<std::int32_t>(box[d]);
    if (d == 0 || !right) continue;
    right = pitches[d - 1] % 16 == 0 && pitches[d - 1] < std::uint64_t{1} << 40;
    map.pitch[d] = static_cast<std::int64_t>(pitches[d - 1]);
  }
  if (!right) return kInvalidValue;
  ++state().encoded;
  static_assert(sizeof(map) == sizeof(*encoded));
  std::memcpy(encoded, &map, sizeof(map));
  return kSuccess;
}

const Driver kDriver{
    .init = &init,
    .error_name = &error_name,
    .error_string = &error_string,
    .device_count = &device_count,
    .device = &device,
    .device_name = &device_name,
    .device_attribute = &device_attribute,
    .retain_context = &retain_context,
    .current_context = &current_context,
    .push_context = &push_context,
    .pop_context = &pop_context,
    .create_pool = &create_pool,
    .set_pool = &set_pool,
    .allocate = &allocate,
    .release = &release,
    .copy = &copy,
    .wait = &wait,
    .is_capturing = &is_capturing,
    .load_library = &load_library,
    .kernel = &find_kernel,
    .set_kernel = &set_kernel,
    .launch = &launch,
    .encode_map = &encode_map,
};

}  // namespace

void install_simulated_driver() { set_driver(kDriver); }

void reset_simulated_driver() {
  const std::lock_guard lock(state().mutex);
  for (auto& [stream, queue] : state().streams) run_queue(stream);
  state().broken = kSuccess;
  state().failures.clear();
  state().launches.clear();
  state().encoded = 0;
  state().options = {};
}

void set_simulation(const simulator::Options& options) { state().options = options; }
std::map<std::string, int> launches() { return state().launches; }
int encoded_maps() { return state().encoded; }
std::size_t allocated_bytes() {
  std::size_t bytes = 0;
  for (const auto& [memory, size] : state().allocated) bytes += size;
  return bytes;
}

void begin_capture(void* stream) {
  const std::lock_guard lock(state().mutex);
  run_queue(stream);
  state().streams[stream].captured = true;
}
int end_capture(void* stream) {
  const std::lock_guard lock(state().mutex);
  Stream& captured = state().streams[stream];
  captured.captured = false;
  state().graphs.emplace_back(captured.queue.begin(), captured.queue.end());
  captured.queue.clear();
  return static_cast<int>(state().graphs.size()) - 1;
}
void launch_graph(int graph, void* stream) {
  const std::lock_guard lock(state().mutex);
  for (const Work& work : state().graphs[static_cast<std::size_t>(graph)])
    (void)queue(stream, work);
}

void fail_driver(const std::string& symbol, int result, int calls) {
  state().failures[symbol] = {result, calls};
}

}  // namespace octavo::test
