// SPDX-License-Identifier: Apache-2.0
// The rule of CodeErrors, in float64.
#pragma once

#include <algorithm>
#include <cmath>

#include "octavo/code_errors.hpp"

namespace octavo::host {

/// Adds what `code` loses of w. `largest`: the magnitude from which a code counts as saturated.
inline void add_code_error(float w, float code, float scale, float largest,
                           CodeErrors& sums) noexcept {
  const double value = static_cast<double>(w);
  const double error = value - static_cast<double>(code * scale);
  sums.signal += value * value;
  sums.noise += error * error;
  sums.largest = std::max(sums.largest, std::abs(error));
  sums.saturated += std::abs(code) >= largest ? 1 : 0;
  sums.finite = sums.finite && std::isfinite(w);
}

}  // namespace octavo::host
