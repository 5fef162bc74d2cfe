// SPDX-License-Identifier: Apache-2.0
// Which devices tensors may be on: those that a usable backend is for.
#include <fmt/format.h>

#include <algorithm>

#include "backends/backend.hpp"
#include "core/devices.hpp"
#include "octavo/backend.hpp"

namespace octavo {
namespace {

bool usable(DeviceType type) noexcept {
  return std::ranges::any_of(registry(), [type](const Backend* backend) {
    return backend->device == type && backend->unavailable() == nullptr;
  });
}

// Why no backend for that device is usable.
std::string reason(std::string_view name) {
  std::string_view title = name;
  for (const DeviceKind& kind : kDeviceKinds) {
    if (kind.name != name) continue;
    title = kind.title;
    for (const Backend* backend : registry()) {
      if (backend->device != kind.type) continue;
      return fmt::format("{}: {}", backend->name, backend->unavailable());
    }
  }
  return fmt::format("no {} backend is built", title);
}

}  // namespace

std::string device_refusal(std::string_view name, int index) {
  std::string names;
  for (const DeviceKind& kind : kDeviceKinds) {
    if (!usable(kind.type)) continue;
    if (kind.name == name) return {};
    names += fmt::format("{}{}", names.empty() ? "" : " or ", kind.name);
  }
  return fmt::format("must be {} ({}); got {}:{}", names, reason(name), name, index);
}

std::string device_refusal(Device device) {
  if (device.type == DeviceType::cpu) return {};  // the reference always runs
  const DeviceKind* kind = find_kind(device.type);
  if (kind != nullptr) return device_refusal(kind->name, device.index);
  return device_refusal(fmt::format("type {}", static_cast<int>(device.type)), device.index);
}

}  // namespace octavo
