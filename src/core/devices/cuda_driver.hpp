// SPDX-License-Identifier: Apache-2.0
// NVIDIA's driver as a table of functions: those of libcuda.so.1, which is opened when something
// asks for it, or those that tests bring. Nothing of CUDA's toolkit is needed to build or to run
// this; tests/cuda/driver_test.cu holds the table to the toolkit's header.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace octavo::cuda {

// The driver's types. Handles are its own pointers; numbers of its enumerations are below.
using DriverResult = int;
using DriverDevice = int;
using DevicePointer = unsigned long long;
struct DriverContext;
struct DriverPool;
struct DriverLibrary;
struct DriverKernel;

constexpr DriverResult kSuccess = 0;
constexpr DriverResult kOutOfMemory = 2;

/// CUdevice_attribute.
enum class DeviceAttribute : int { multiprocessors = 16, major = 75, minor = 76 };
/// CUfunction_attribute.
enum class KernelAttribute : int { most_shared_bytes = 8 };
/// CUmemPool_attribute.
enum class PoolAttribute : int { release_threshold = 4 };
/// CUtensorMapDataType: elements are bits, whatever they stand for.
enum class MapElement : int { bits_8 = 0, bits_16 = 1, bits_32 = 2 };
/// CUtensorMapSwizzle.
enum class MapSwizzle : int { none = 0, bytes_128 = 3 };
/// CUtensorMapL2promotion.
enum class MapPromotion : int { none = 0, bytes_256 = 3 };

/// CUmemPoolProps of a device's own memory.
struct PoolProperties {
  int allocation = 1;  ///< pinned
  int handles = 0;     ///< none are exported
  int location = 1;    ///< a device
  int device = 0;
  void* security = nullptr;
  std::size_t most_bytes = 0;  ///< 0: what there is
  unsigned short usage = 0;
  std::array<unsigned char, 54> reserved{};
};

/// CUtensorMap: opaque. (Toolkits before 13 align it to 64.)
struct alignas(128) EncodedMap {
  std::array<unsigned char, 128> bytes;
};

/// The functions, each with the name that the library exports it by.
#define OCTAVO_DRIVER_FUNCTIONS(X)                                                                \
  X(init, "cuInit", (unsigned flags))                                                             \
  X(error_name, "cuGetErrorName", (DriverResult result, const char** name))                       \
  X(error_string, "cuGetErrorString", (DriverResult result, const char** text))                   \
  X(device_count, "cuDeviceGetCount", (int* count))                                               \
  X(device, "cuDeviceGet", (DriverDevice * device, int index))                                    \
  X(device_name, "cuDeviceGetName", (char* name, int bytes, DriverDevice device))                 \
  X(device_attribute, "cuDeviceGetAttribute",                                                     \
    (int* value, DeviceAttribute attribute, DriverDevice device))                                 \
  X(retain_context, "cuDevicePrimaryCtxRetain", (DriverContext * *context, DriverDevice device))  \
  X(current_context, "cuCtxGetCurrent", (DriverContext * *context))                               \
  X(push_context, "cuCtxPushCurrent_v2", (DriverContext * context))                               \
  X(pop_context, "cuCtxPopCurrent_v2", (DriverContext * *context))                                \
  X(create_pool, "cuMemPoolCreate", (DriverPool * *pool, const PoolProperties* properties))       \
  X(set_pool, "cuMemPoolSetAttribute", (DriverPool * pool, PoolAttribute attribute, void* value)) \
  X(allocate, "cuMemAllocFromPoolAsync",                                                          \
    (DevicePointer * memory, std::size_t bytes, DriverPool * pool, void* stream))                 \
  X(release, "cuMemFreeAsync", (DevicePointer memory, void* stream))                              \
  X(copy, "cuMemcpyAsync",                                                                        \
    (DevicePointer to, DevicePointer from, std::size_t bytes, void* stream))                      \
  X(wait, "cuStreamSynchronize", (void* stream))                                                  \
  X(is_capturing, "cuStreamIsCapturing", (void* stream, int* status))                             \
  X(load_library, "cuLibraryLoadData",                                                            \
    (DriverLibrary * *library, const void* image, void* options, void** values, unsigned count,   \
     void* library_options, void** library_values, unsigned library_count))                       \
  X(kernel, "cuLibraryGetKernel",                                                                 \
    (DriverKernel * *kernel, DriverLibrary * library, const char* name))                          \
  X(set_kernel, "cuKernelSetAttribute",                                                           \
    (KernelAttribute attribute, int value, DriverKernel* kernel, DriverDevice device))            \
  X(launch, "cuLaunchKernel",                                                                     \
    (DriverKernel * kernel, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z,              \
     unsigned threads_x, unsigned threads_y, unsigned threads_z, unsigned shared_bytes,           \
     void* stream, void** params, void** extra))                                                  \
  X(encode_map, "cuTensorMapEncodeTiled",                                                         \
    (EncodedMap * map, MapElement element, std::uint32_t rank, void* base,                        \
     const std::uint64_t* extents, const std::uint64_t* pitches, const std::uint32_t* box,        \
     const std::uint32_t* element_steps, int interleave, MapSwizzle swizzle,                      \
     MapPromotion promotion, int fill))

struct Driver {
#define OCTAVO_DRIVER_FIELD(field, symbol, arguments) DriverResult(*field) arguments = nullptr;
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_DRIVER_FIELD)
#undef OCTAVO_DRIVER_FIELD
};

/// The driver, initialised; null where there is none, and `driver_missing` says why.
const Driver* driver() noexcept;
/// Null, or one static sentence.
const char* driver_missing() noexcept;

/// Another driver for the life of the process: how tests run without a device. Before any other
/// call, from one thread.
void set_driver(const Driver& driver) noexcept;
/// Whether `set_driver` was called.
bool driver_is_given() noexcept;

}  // namespace octavo::cuda
