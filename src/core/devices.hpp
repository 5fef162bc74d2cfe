// SPDX-License-Identifier: Apache-2.0
// The kinds of devices, by name.
#pragma once

#include <array>
#include <string_view>

#include "octavo/tensor.hpp"

namespace octavo {

struct DeviceKind {
  DeviceType type;
  std::string_view name;   ///< as PyTorch writes it
  std::string_view title;  ///< in sentences
};
inline constexpr std::array<DeviceKind, 2> kDeviceKinds{{
    {DeviceType::cpu, "cpu", "CPU"},
    {DeviceType::cuda, "cuda", "CUDA"},
}};

/// The row of a type, null for numbers that are none.
constexpr const DeviceKind* find_kind(DeviceType type) noexcept {
  for (const DeviceKind& kind : kDeviceKinds) {
    if (kind.type == type) return &kind;
  }
  return nullptr;
}

}  // namespace octavo
