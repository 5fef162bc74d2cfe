// SPDX-License-Identifier: Apache-2.0
// Which devices tensors may be on: those that a usable backend is for.
#include <fmt/core.h>

#include <algorithm>

#include "backends/backend.hpp"
#include "core/devices/devices.hpp"
#include "octavo/backend.hpp"

namespace octavo {
namespace {

bool has_usable_backend(DeviceType type) noexcept {
  return std::ranges::any_of(registry(), [type](const Backend* backend) {
    return backend->device == type && backend->unavailable() == nullptr;
  });
}

// Null where tensors of that device can be used, else why not.
const char* why_not(const DeviceKind& kind, std::int32_t index) noexcept {
  if (kind.memory == nullptr) return "";
  if (const char* why = kind.memory->unavailable(index); why != nullptr) return why;
  return has_usable_backend(kind.type) ? nullptr : "";
}

// Why no backend for that device is usable.
std::string reason(std::string_view name, std::int32_t index) {
  std::string_view title = name;
  for (const DeviceKind* kind : device_kinds()) {
    if (kind->name != name) continue;
    title = kind->title;
    if (const char* why = why_not(*kind, index); why != nullptr && *why != '\0') return why;
    for (const Backend* backend : registry()) {
      if (backend->device != kind->type) continue;
      return fmt::format("{}: {}", backend->name, backend->unavailable());
    }
  }
  return fmt::format("no {} backend is built", title);
}

}  // namespace

std::string device_refusal(std::string_view name, int index) {
  for (const DeviceKind* kind : device_kinds()) {
    if (kind->name == name && why_not(*kind, index) == nullptr) return {};
  }
  std::string names;
  for (const DeviceKind* kind : device_kinds()) {
    if (kind->name == name || why_not(*kind, 0) != nullptr) continue;
    names += fmt::format("{}{}", names.empty() ? "" : " or ", kind->name);
  }
  return fmt::format("must be {} ({}); got {}:{}", names, reason(name, index), name, index);
}

std::string device_refusal(Device device) {
  if (device.type == DeviceType::cpu) return {};  // the reference always runs
  const DeviceKind* kind = find_kind(device.type);
  if (kind != nullptr) return device_refusal(kind->name, device.index);
  return device_refusal(fmt::format("type {}", static_cast<int>(device.type)), device.index);
}

}  // namespace octavo
