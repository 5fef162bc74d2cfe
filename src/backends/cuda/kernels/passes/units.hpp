// SPDX-License-Identifier: Apache-2.0
// Memory in units of 1 to 16 bytes, for what is copied whatever it means.
#pragma once

#include <cstdint>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda {

constexpr std::int64_t kMostUnit = 16;

struct alignas(16) Unit16 {
  std::uint32_t words[4];
};

/// visit(a value of the unit of so many bytes): of 1, 2 or 4.
template <class Visit>
OCTAVO_HOST_DEVICE void with_word(std::int64_t bytes, const Visit& visit) {
  if (bytes == 1) return visit(std::uint8_t());
  if (bytes == 2) return visit(std::uint16_t());
  visit(std::uint32_t());
}

/// The same of all units.
template <class Visit>
OCTAVO_HOST_DEVICE void with_unit(std::int64_t bytes, const Visit& visit) {
  if (bytes <= 4) return with_word(bytes, visit);
  if (bytes == 8) return visit(std::uint64_t());
  visit(Unit16());
}

}  // namespace octavo::cuda
