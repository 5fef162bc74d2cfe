// SPDX-License-Identifier: Apache-2.0
// Cliffs: sizes at which a little more work takes much more time.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/problem_line.hpp"

namespace octavo::kit {

struct CliffOptions {
  std::string backend;  ///< forced by name, empty: chosen
  int threads = 1;      ///< of the default executor
  double sample_seconds = 0.003;
};

/// A step from `m` rows to m + 1.
struct Step {
  std::int64_t m = 0;
  double size = 0;
};

/// What three scans over every M agree on. A step counts if it is beyond the noise of its own scan
/// in all three; its size is the smallest of the three.
struct Cliffs {
  double noise = 0;   ///< 95 % of A/A ratios are nearer to 1, in the noisiest scan
  Step drop;          ///< largest 1 - efficiency(m + 1) / efficiency(m), efficiency = work / time
  Step slower_fewer;  ///< largest time(m) / time(m + 1): fewer rows that take longer
  int steps = 0;      ///< how many drops of efficiency count
  /// Efficiency with N, K or both one more than a multiple of 64, over that with the multiple: the
  /// least of a few and of all rows, the largest of three repeats.
  double n_plus_one = 0, k_plus_one = 0, both_plus_one = 0;
};

/// Scans 1 to line.m rows. Throws Error for a line that is grouped.
Cliffs find_cliffs(const ProblemLine& line, const CliffOptions& options);

}  // namespace octavo::kit
