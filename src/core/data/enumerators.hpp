// SPDX-License-Identifier: Apache-2.0
// Values of enumerations that a cast made: whether they are one of the enumerators, by whose number
// tables are read.
#pragma once

#include <cstddef>

#include "octavo/dtype.hpp"
#include "octavo/scale.hpp"

namespace octavo {

constexpr bool known(DType dtype) noexcept {
  return static_cast<std::size_t>(dtype) < kDTypes.size();
}
constexpr bool known(const Granularity& g) noexcept {
  return static_cast<std::size_t>(g.kind) < kGranularities.size();
}

}  // namespace octavo
