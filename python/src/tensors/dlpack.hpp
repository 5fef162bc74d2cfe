// SPDX-License-Identifier: Apache-2.0
// The structures of DLPack 1.3, declared here because no package of Debian 12 has them.
//
// Source: DLPack specification, https://dmlc.github.io/dlpack/latest/c_api.html. Layouts are fixed
// by that specification; names are its own.
#pragma once

#include <cstdint>

namespace octavo::python {

struct DLPackVersion {
  std::uint32_t major, minor;
};

struct DLDevice {
  std::int32_t device_type;
  std::int32_t device_id;
};

struct DLDataType {
  std::uint8_t code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct DLTensor {
  void* data;
  DLDevice device;
  std::int32_t ndim;
  DLDataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  ///< null: compact, row-major
  std::uint64_t byte_offset;
};

/// What capsules named "dltensor" hold (before DLPack 1.0).
struct DLManagedTensor {
  DLTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(DLManagedTensor* self);
};

/// What capsules named "dltensor_versioned" hold.
struct DLManagedTensorVersioned {
  DLPackVersion version;
  void* manager_ctx;
  void (*deleter)(DLManagedTensorVersioned* self);
  std::uint64_t flags;
  DLTensor dl_tensor;
};

inline constexpr std::uint64_t kDLPackReadOnly = 1;
inline constexpr DLPackVersion kDLPackVersion{1, 1};

/// DLPack 1.3: what the capsule `type(x).__dlpack_c_exchange_api__` holds.
struct DLPackExchangeApi {
  DLPackVersion version;
  const void* previous;
  int (*allocate)(DLTensor* prototype, DLManagedTensorVersioned** out, void* error_context,
                  void (*set_error)(void* error_context, const char* kind, const char* message));
  int (*from_py_object)(void* py_object, DLManagedTensorVersioned** out);
  int (*to_py_object)(DLManagedTensorVersioned* tensor, void** out);
  int (*view_of_py_object)(void* py_object, DLTensor* out);  ///< may be null
  int (*current_work_stream)(std::int32_t device_type, std::int32_t device_id, void** out);
};

}  // namespace octavo::python
