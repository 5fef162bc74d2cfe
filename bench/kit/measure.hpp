// SPDX-License-Identifier: Apache-2.0
// Timing a problem by the rules that make a figure: interleaved rounds, cold weights, medians.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kit/peak.hpp"
#include "octavo/context.hpp"
#include "octavo/problem_line.hpp"

namespace octavo::kit {

struct MeasureOptions {
  std::string backend;           ///< forced by name, empty: chosen
  Executor* executor = nullptr;  ///< of the problem; null: the default one
  int threads = 1;               ///< of that executor: peaks and peers get as many
  int rounds = 9;                ///< interleaved samples of problem, peers and peak
  double sample_seconds = 0.05;
  double budget_seconds = 0;  ///< no round begins after that, but three are made; 0: no limit
  bool cold = false;          ///< rotate weights through 256 MB; always so for one row
  bool peers = true;          ///< measure the peers that are there
  bool float32_peers = true;  ///< and those among them that multiply in float32
  std::optional<ProblemLine> against{};  ///< another problem of ours, timed in the same rounds
};

/// The median, and the order statistics that hold it with 95 % confidence (binomial).
struct Median {
  double value = 0, low = 0, high = 0;
};
Median median_of(std::vector<double> samples);

/// A peer beside a figure, from the same rounds.
struct PeerFigure {
  std::string name, version;
  std::string as;       ///< "bf16": it has no fp8, and multiplied the codes as bfloat16
  std::string not_run;  ///< why, one sentence; then nothing below counts
  std::string note;     ///< what ran, and what was left out
  double median_us = 0;
  Median ratio;                ///< the peer's time over ours, paired within a round
  Median roofline;             ///< the figure's floor over the peer's time
  double max_error_ratio = 0;  ///< to the figure's bound; negative: the peer left something out
};

/// Another problem of ours beside a figure, from the same rounds, as cold as it.
struct AgainstFigure {
  std::string line, backend;
  double median_us = 0;
  Median ratio;                ///< its time over the figure's, paired within a round
  double max_error_ratio = 0;  ///< to its own bound
};

/// A figure: medians over rounds, ratios paired within a round.
struct Figure {
  std::string backend, how;  ///< what ran, and in its own words
  bool cold = false;
  int rounds = 0;
  double median_us = 0, best_us = 0;
  double gops = 0, peak_gops = 0;
  const char* peak_instruction = "";
  double peak_per_cycle = 0;
  double gbps = 0, read_gbps = 0;
  double roofline_fraction = 0;                ///< median of the paired fractions
  double roofline_low = 0, roofline_high = 0;  ///< its 95 % interval
  bool memory_bound = false;                   ///< which of the two peaks is the floor
  Median noise;                                ///< the same code twice in a round: a ratio around 1
  Median scaling;  ///< the time of one thread over that of all, paired; 0 where there is one
  double max_error_ratio = 0;  ///< to the computed bound; at most 1
  std::optional<AgainstFigure> against;
  std::vector<PeerFigure> peers;
};

Figure measure(const ProblemLine& line, const MeasureOptions& options);

/// The instruction family that bounds a line.
PeakKind peak_kind(const ProblemLine& line);

}  // namespace octavo::kit
