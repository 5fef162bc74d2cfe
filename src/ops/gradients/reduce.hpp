// SPDX-License-Identifier: Apache-2.0
// Sums over cells by a backend, with the memory that they take.
#pragma once

#include "backends/backend.hpp"
#include "core/error.hpp"

namespace octavo {

/// Runs the problem, whose `scratch` this finds.
inline Status sum_cells(const char* operation, const Backend& backend, ReduceProblem problem,
                        const ExecContext& context) {
  constexpr std::int64_t kScratch = std::int64_t{1} << 17;  // 1 MB
  const MatrixView& x = problem.factors[0];
  // A row of cells has no more columns than the matrix, nor, transposed, than it has rows.
  const std::int64_t elements = x.shape[0] * x.shape[1];
  const std::int64_t row = std::max(x.shape[0], x.shape[1]);
  const std::array<std::int64_t, 1> count{std::max(row, std::min(elements, kScratch))};
  OCTAVO_TRY_ASSIGN(const Tensor scratch,
                    Tensor::try_empty(operation, DType::float64, count, context.place(x.device)));
  problem.scratch = {scratch.data_as<double>(), static_cast<std::size_t>(scratch.numel())};
  return backend.passes.reduce(problem, context);
}

}  // namespace octavo
