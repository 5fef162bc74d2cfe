// SPDX-License-Identifier: Apache-2.0
// The table of the driver's functions against the toolkit's header: names, types and numbers.
#include <cuda.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <map>
#include <string>
#include <type_traits>

#include "core/devices/cuda_driver.hpp"

namespace octavo::test::driver_test {
namespace {

using namespace cuda;

// The name that a call of the header's spelling ends up with.
#define OCTAVO_TEXT(name) #name
#define OCTAVO_SYMBOL(name) OCTAVO_TEXT(name)

// Whether two types are passed alike: both pointers, or both numbers of one size.
template <class Ours, class Theirs>
constexpr bool passed_alike = std::is_pointer_v<Ours> == std::is_pointer_v<Theirs> &&
                              sizeof(Ours) == sizeof(Theirs) && alignof(Ours) == alignof(Theirs);

template <class Ours, class Theirs>
constexpr bool called_alike = false;
template <class... Ours, class... Theirs>
constexpr bool called_alike<DriverResult (*)(Ours...), CUresult (*)(Theirs...)> = [] {
  if constexpr (sizeof...(Ours) != sizeof...(Theirs)) {
    return false;
  } else {
    return (passed_alike<Ours, Theirs> && ...);
  }
}();

// A row for each function of the table; a field without one does not compile below.
#define OCTAVO_ROWS(X)                        \
  X(init, cuInit)                             \
  X(error_name, cuGetErrorName)               \
  X(error_string, cuGetErrorString)           \
  X(device_count, cuDeviceGetCount)           \
  X(device, cuDeviceGet)                      \
  X(device_name, cuDeviceGetName)             \
  X(device_attribute, cuDeviceGetAttribute)   \
  X(retain_context, cuDevicePrimaryCtxRetain) \
  X(current_context, cuCtxGetCurrent)         \
  X(push_context, cuCtxPushCurrent)           \
  X(pop_context, cuCtxPopCurrent)             \
  X(create_pool, cuMemPoolCreate)             \
  X(set_pool, cuMemPoolSetAttribute)          \
  X(allocate, cuMemAllocFromPoolAsync)        \
  X(release, cuMemFreeAsync)                  \
  X(copy, cuMemcpyAsync)                      \
  X(wait, cuStreamSynchronize)                \
  X(is_capturing, cuStreamIsCapturing)        \
  X(load_library, cuLibraryLoadData)          \
  X(kernel, cuLibraryGetKernel)               \
  X(set_kernel, cuKernelSetAttribute)         \
  X(launch, cuLaunchKernel)                   \
  X(encode_map, cuTensorMapEncodeTiled)

#define OCTAVO_ALIKE(field, function) \
  static_assert(called_alike<decltype(Driver::field), decltype(&function)>, #function);
OCTAVO_ROWS(OCTAVO_ALIKE)

TEST(DriverTable, HasTheNamesThatTheHeaderSpellsTheFunctionsBy) {
  std::map<std::string, std::string> ours;
#define OCTAVO_OURS(field, symbol, arguments) ours[#field] = symbol;
  OCTAVO_DRIVER_FUNCTIONS(OCTAVO_OURS)
  std::map<std::string, std::string> theirs;
#define OCTAVO_THEIRS(field, function) theirs[#field] = OCTAVO_SYMBOL(function);
  OCTAVO_ROWS(OCTAVO_THEIRS)
  EXPECT_EQ(ours, theirs);
}

template <class Ours>
constexpr int number(Ours value) {
  return static_cast<int>(value);
}
static_assert(kSuccess == CUDA_SUCCESS && kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(number(DeviceAttribute::multiprocessors) == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(number(DeviceAttribute::major) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(number(DeviceAttribute::minor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(number(KernelAttribute::most_shared_bytes) ==
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(number(PoolAttribute::release_threshold) == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD);
static_assert(number(MapElement::bits_8) == CU_TENSOR_MAP_DATA_TYPE_UINT8);
static_assert(number(MapElement::bits_16) == CU_TENSOR_MAP_DATA_TYPE_UINT16);
static_assert(number(MapElement::bits_32) == CU_TENSOR_MAP_DATA_TYPE_UINT32);
static_assert(number(MapSwizzle::none) == CU_TENSOR_MAP_SWIZZLE_NONE);
static_assert(number(MapSwizzle::bytes_128) == CU_TENSOR_MAP_SWIZZLE_128B);
static_assert(number(MapPromotion::none) == CU_TENSOR_MAP_L2_PROMOTION_NONE);
static_assert(number(MapPromotion::bytes_256) == CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
static_assert(CU_TENSOR_MAP_INTERLEAVE_NONE == 0 && CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE == 0);
static_assert(CU_STREAM_CAPTURE_STATUS_NONE == 0);

static_assert(sizeof(EncodedMap) == sizeof(CUtensorMap) &&
              alignof(EncodedMap) >= alignof(CUtensorMap));
static_assert(sizeof(PoolProperties) == sizeof(CUmemPoolProps));
static_assert(offsetof(PoolProperties, handles) == offsetof(CUmemPoolProps, handleTypes));
static_assert(offsetof(PoolProperties, location) == offsetof(CUmemPoolProps, location));
static_assert(offsetof(PoolProperties, device) ==
              offsetof(CUmemPoolProps, location) + offsetof(CUmemLocation, id));
static_assert(offsetof(PoolProperties, security) ==
              offsetof(CUmemPoolProps, win32SecurityAttributes));
static_assert(offsetof(PoolProperties, most_bytes) == offsetof(CUmemPoolProps, maxSize));
static_assert(offsetof(PoolProperties, usage) == offsetof(CUmemPoolProps, usage));
static_assert(PoolProperties().allocation == CU_MEM_ALLOCATION_TYPE_PINNED &&
              PoolProperties().location == CU_MEM_LOCATION_TYPE_DEVICE);

}  // namespace
}  // namespace octavo::test::driver_test
