// SPDX-License-Identifier: Apache-2.0
// Every element in float64.
#include <algorithm>
#include <cmath>

#include "backends/host/passes.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::host {
namespace {

// Adds what `code` loses of w. `largest`: the magnitude from which a code counts as saturated.
void add_code_error(float w, float code, float scale, float largest, CodeErrors& sums) noexcept {
  const double value = static_cast<double>(w);
  const double error = value - static_cast<double>(code * scale);
  sums.signal += value * value;
  sums.noise += error * error;
  sums.largest = std::max(sums.largest, std::abs(error));
  sums.saturated += std::abs(code) >= largest ? 1 : 0;
  sums.finite = sums.finite && std::isfinite(w);
}

}  // namespace

Status code_errors(const CodeErrorsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const std::int64_t columns = p.values.shape[1];
  const std::int64_t width = std::min(p.grid.cols, columns);
  for (std::int64_t i = 0; i < p.values.shape[0]; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto* scale = static_cast<const float*>(
          p.scales.at(i / p.grid.rows * p.scales.strides[0] + j / width * p.scales.strides[1]));
      add_code_error(load_float(p.values, i, j), load_float(p.codes, i, j), *scale, p.largest,
                     *p.errors);
    }
  }
  return {};
}

}  // namespace octavo::host
