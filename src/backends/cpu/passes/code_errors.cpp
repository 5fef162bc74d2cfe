// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cpu/passes/passes.hpp"
#include "backends/cpu/row_kernels.hpp"
#include "core/fp_env.hpp"

namespace octavo::cpu {

Status code_errors(const CodeErrorsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const Kernels& kernels = best_kernels();
  const std::int64_t columns = p.values.shape[1];
  const std::int64_t width = std::min(p.grid.cols, columns);
  for (std::int64_t i = 0; i < p.values.shape[0]; ++i) {
    for (std::int64_t j = 0; j < columns; j += width) {
      const auto* scale = static_cast<const float*>(
          p.scales.at(i / p.grid.rows * p.scales.strides[0] + j / width * p.scales.strides[1]));
      kernels.code_errors({.from = p.values.dtype,
                           .values = p.values.at(i * p.values.strides[0] + j),
                           .to = p.codes.dtype,
                           .codes = p.codes.at(i * p.codes.strides[0] + j),
                           .count = std::min(width, columns - j),
                           .scale = *scale,
                           .largest = p.largest},
                          *p.errors);
    }
  }
  return {};
}

}  // namespace octavo::cpu
