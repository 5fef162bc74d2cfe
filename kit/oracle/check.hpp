// SPDX-License-Identifier: Apache-2.0
// Is a backend right on a line? Both oracles, and the same bits twice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octavo/problem_line.hpp"
#include "octavo/tensor.hpp"

namespace octavo::kit {

struct CheckOptions {
  bool bitwise = false;  ///< also: the same bits run to run and for 1, 2 and 3 threads
};

struct CheckResult {
  std::string backend;
  bool passed = true;
  std::string failure;             ///< what is wrong, one sentence
  double max_error_ratio = 0;      ///< to the bound of specification section 9
  bool matches_reference = false;  ///< bit for bit
  bool reference_compared = false;
};

/// Checks one backend on a line, with Gaussian operands. Throws Error for a problem that is wrong.
CheckResult check(const ProblemLine& line, const std::string& backend, const CheckOptions& options);

/// The outputs of a problem in element order; all NaNs read as one.
std::vector<std::uint8_t> output_bytes(const MatmulProblem& problem);

/// Do two tensors hold the same bytes? Two that are not defined do.
bool same_bytes(const Tensor& a, const Tensor& b);

/// True where a line's result has one right answer bit for bit (specification section 9).
bool integer_line(const ProblemLine& line);

}  // namespace octavo::kit
