// SPDX-License-Identifier: Apache-2.0
// Timing a problem by the rules that make a figure: interleaved rounds, cold weights, medians.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "octavo/problem_line.hpp"

namespace octavo::kit {

struct MeasureOptions {
  std::string backend;  ///< forced by name, empty: chosen
  int threads = 1;      ///< for peaks; the problem runs on the default executor
  int rounds = 9;       ///< interleaved samples of problem and peak
  double sample_seconds = 0.05;
  bool cold = false;  ///< rotate weights through 256 MB; always so for one row
};

/// A figure: medians over rounds, ratios paired within a round.
struct Figure {
  std::string backend;
  bool cold = false;
  double median_us = 0, best_us = 0;
  double gops = 0, peak_gops = 0;
  const char* peak_instruction = "";
  double peak_per_cycle = 0;
  double gbps = 0, read_gbps = 0;
  double roofline_fraction = 0;                ///< median of the paired fractions
  double roofline_low = 0, roofline_high = 0;  ///< its 95 % interval
  double max_error_ratio = 0;                  ///< to the computed bound; at most 1
};

Figure measure(const ProblemLine& line, const MeasureOptions& options);

/// The work of a line: multiplications and additions, and bytes that must move once.
struct Work {
  double ops = 0;
  double bytes = 0;
};
Work work_of(const MatmulProblem& problem);

/// The median, and the order statistics that hold it with 95 % confidence (binomial).
struct Median {
  double value = 0, low = 0, high = 0;
};
Median median_of(std::vector<double> samples);

}  // namespace octavo::kit
