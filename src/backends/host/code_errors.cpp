// SPDX-License-Identifier: Apache-2.0
// Every element in float64.
#include <algorithm>
#include <cmath>

#include "backends/host/passes.hpp"
#include "core/element.hpp"
#include "core/fp_env.hpp"

namespace octavo::host {

Status code_errors(const CodeErrorsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const std::int64_t columns = p.values.shape[1];
  const std::int64_t width = std::min(p.grid.cols, columns);
  CodeErrors& sums = *p.errors;
  for (std::int64_t i = 0; i < p.values.shape[0]; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      const auto* scale = static_cast<const float*>(
          p.scales.at(i / p.grid.rows * p.scales.strides[0] + j / width * p.scales.strides[1]));
      const float code = load_float(p.codes.dtype, p.codes.data, i * p.codes.strides[0] + j);
      const double w = static_cast<double>(
          load_float(p.values.dtype, p.values.data, i * p.values.strides[0] + j));
      const double error = w - static_cast<double>(code * *scale);
      sums.signal += w * w;
      sums.noise += error * error;
      sums.largest = std::max(sums.largest, std::abs(error));
      sums.saturated += std::abs(code) >= p.largest ? 1 : 0;
      sums.finite = sums.finite && std::isfinite(w);
    }
  }
  return {};
}

}  // namespace octavo::host
