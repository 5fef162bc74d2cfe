// SPDX-License-Identifier: Apache-2.0
// Timing a problem by the rules that make a figure: interleaved rounds, cold weights, medians.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kit/operands/work.hpp"
#include "kit/timing/peak.hpp"
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

/// What every figure says: medians over rounds, ratios paired within a round.
struct Timing {
  int rounds = 0;
  double median_us = 0, best_us = 0;
  double gops = 0, peak_gops = 0;  ///< 0 of an operation that only moves bytes
  const char* peak_instruction = "";
  double peak_per_cycle = 0;
  double bytes = 0;  ///< of a call at least
  double gbps = 0, read_gbps = 0;
  /// The floor over the time: the sum over the work's members of the larger of ops / peak and bytes
  /// / bandwidth.
  Median roofline;
  bool memory_bound = false;  ///< which of the two peaks is the floor
  Median noise;               ///< the same code twice in a round: a ratio around 1
  Median scaling;             ///< the time of one thread over that of all; 0 where there is one
};

/// The rounds of a figure.
class Rounds {
 public:
  /// Of calls with that work, beside peaks of that kind; without a kind they move bytes only.
  Rounds(Work work, std::optional<PeakKind> kind, const MeasureOptions& options)
      : work_(std::move(work)), kind_(kind), options_(options) {}

  /// Ends a round: a call took `seconds`, the same once more `again`, on one thread `alone` (unless
  /// that is the number of threads). Measures what the machine can do; returns the call's floor.
  Floor end(double seconds, double again, std::optional<double> alone);
  Timing timing() const;

 private:
  Work work_;
  std::optional<PeakKind> kind_;
  const MeasureOptions& options_;
  Timing timing_;
  std::vector<double> times_, again_, scaling_, peaks_, reads_, fractions_;
};

/// A product's figure.
struct Figure : Timing {
  std::string backend, how;  ///< what ran, and in its own words
  bool cold = false;
  double max_error_ratio = 0;  ///< to the computed bound; at most 1
  std::optional<AgainstFigure> against;
  std::vector<PeerFigure> peers;
};

/// Of a figure's peers the fastest that ran and is right, or leaves something out; null: none.
const PeerFigure* fastest_peer(const Figure& figure);

Figure measure(const ProblemLine& line, const MeasureOptions& options);

/// The instruction family that bounds a line.
PeakKind peak_kind(const ProblemLine& line);

}  // namespace octavo::kit
