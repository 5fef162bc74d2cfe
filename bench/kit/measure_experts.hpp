// SPDX-License-Identifier: Apache-2.0
// Timing fused experts by the rules that make a figure: cold experts, interleaved rounds, medians.
#pragma once

#include <string>

#include "kit/experts_line.hpp"
#include "kit/measure.hpp"

namespace octavo::kit {

struct ExpertsFigure {
  std::string backend;  ///< of the products
  int rounds = 0;
  std::int64_t touched = 0;  ///< experts that have rows
  double median_us = 0, best_us = 0;
  double gops = 0, peak_gops = 0, gbps = 0, read_gbps = 0;
  bool memory_bound = false;
  /// The sum of the floors of the members of both products over the time, paired within a round:
  /// codes, weights and outputs of each member once, of touched experts only; nothing for
  /// quantisers, activation function and sums.
  Median roofline;
  Median noise;    ///< the same code twice in a round: a ratio around 1
  Median scaling;  ///< the time of one thread over that of all, paired; 0 where there is one
  bool matches_composition = false;
};

/// Experts take turns, so that 256 MB of them are read before one comes again. `cold` and `peers`
/// of the options do not count. Throws Error for a line that is wrong.
ExpertsFigure measure_experts(const ExpertsLine& line, const MeasureOptions& options);

/// The backends of a line's products, and whether they give the bits of the separate operations.
/// An empty name forces none.
std::string experts_backend(const ExpertsLine& line, const std::string& forced);
bool experts_match_composition(const ExpertsLine& line, const std::string& backend);

}  // namespace octavo::kit
