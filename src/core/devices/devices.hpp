// SPDX-License-Identifier: Apache-2.0
// The kinds of devices: their names, their memory, the order of work on it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// Memory of one kind of device. Work on it is queued on streams, null being the default one, and
/// done in order; the host's is done at once. Memory may be used in the stream that it was
/// allocated for, and in others behind a wait.
struct DeviceMemory {
  /// Null where device `index` can be used, else a static sentence.
  const char* (*unavailable)(std::int32_t index) noexcept;
  /// `bytes` > 0, aligned to 64; null where there are none.
  void* (*allocate)(std::size_t bytes, const Place& place) noexcept;
  /// Gives back what `allocate` returned for the same arguments, behind all that is queued.
  void (*release)(void* memory, std::size_t bytes, const Place& place) noexcept;
  /// Copies `bytes` between two addresses of this kind, or between one and the host's. The host's
  /// are read before it returns, and written when the stream has been waited for.
  Status (*copy)(const TensorView& from, const TensorView& to, std::size_t bytes,
                 void* stream) noexcept;
  /// Returns when everything queued so far is done; the first failure of it.
  Status (*wait)(const Place& place) noexcept;
};

struct DeviceKind {
  DeviceType type;
  std::string_view name;       ///< as PyTorch writes it
  std::string_view title;      ///< in sentences
  const DeviceMemory* memory;  ///< null: this build has no backend for it
};

/// All kinds, the host first.
std::span<const DeviceKind* const> device_kinds() noexcept;

/// The row of a type, null for numbers that are none.
const DeviceKind* find_kind(DeviceType type) noexcept;

/// One more kind, for the life of the process: how tests bring a device of their own. Before any
/// other call, from one thread.
void add_device(const DeviceKind& kind) noexcept;

/// "cpu", "cuda:1", "type 5:0".
std::string device_string(const Device& device);

inline bool on_host(const Device& device) noexcept { return device.type == DeviceType::cpu; }
inline bool on_host(const TensorView& view) noexcept { return on_host(view.device); }

inline bool same_device(const Device& a, const Device& b) noexcept {
  return a.type == b.type && (on_host(a) || a.index == b.index);
}

}  // namespace octavo
