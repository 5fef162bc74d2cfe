// SPDX-License-Identifier: Apache-2.0
// Timing a quantiser by the rules that make a figure: cold buffers, interleaved rounds, medians.
#pragma once

#include <string>

#include "kit/measure.hpp"
#include "kit/quantize_line.hpp"

namespace octavo::kit {

struct QuantizeFigure {
  std::string backend;
  int rounds = 0;
  double bytes = 0;  ///< input once, codes, scales and zero points, whatever the number of passes
  double median_us = 0, best_us = 0;
  double gbps = 0, read_gbps = 0;
  Median roofline;  ///< bytes / read bandwidth / time, paired within a round
  Median noise;     ///< the same code twice in a round: a ratio around 1
  Median scaling;   ///< the time of one thread over that of all, paired; 0 where there is one
  bool matches_reference = false;  ///< codes, scales and zero points, bit for bit
};

/// Inputs and outputs rotate through 256 MB. `cold` and `peers` of the options do not count. Throws
/// Error for a line that is wrong.
QuantizeFigure measure_quantize(const QuantizeLine& line, const MeasureOptions& options);

/// The backend whose quantiser a line runs on, and whether it gives the reference's bits.
std::string quantize_backend(const std::string& forced);
bool quantize_matches_reference(const QuantizeLine& line, const std::string& backend);

}  // namespace octavo::kit
