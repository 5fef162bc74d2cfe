// SPDX-License-Identifier: Apache-2.0
// A problem whose calls take turns on weights, so that none is served from a cache.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

#include "kit/operands/operands.hpp"
#include "octavo/problem_line.hpp"

namespace octavo::kit {

/// Weights rotate through so many bytes, so that none is served from a last-level cache.
inline constexpr double kColdBytes = 256.0 * 1024 * 1024;

/// Weights that are smaller than 64 KB have so many sets, since what describes each takes memory
/// and time as well.
inline constexpr std::size_t kMostSets = 4096;

/// Whether so many sets, of so many bytes in all that calls read, are enough to take turns on.
inline bool enough_sets(std::size_t sets, double bytes) {
  return bytes >= kColdBytes || sets >= kMostSets;
}

/// The problem of a line and, where it is to be cold, as many sets of its weights as it takes to
/// read kColdBytes before one is read again, but no more than kMostSets. What a call does not read
/// does not count: of a list, the members that have rows take turns on the weights of all members,
/// as tokens do on experts; of a 3-D B with offsets only the touched part of each set counts.
class Rotation {
 public:
  Rotation(const ProblemLine& line, bool cold, const char* backend);
  Rotation(const Rotation&) = delete;
  Rotation& operator=(const Rotation&) = delete;

  /// The problem on the next weights; valid until the next call.
  const MatmulProblem& next();
  /// The problem as the line says it.
  const MatmulProblem& first() const { return problems_.front().problem(); }

 private:
  void add(LineProblem problem);

  Operands operands_;
  std::deque<OtherWeights> others_;
  std::vector<LineProblem> problems_;  // keep the weights that `weights_` refers to
  std::vector<OperandView> weights_;   // those that the slots take turns on
  std::vector<Member> list_;           // the members of `turn_`
  MatmulProblem turn_;
  std::vector<OperandView*> slots_;  // of `turn_`: the operands B that take turns; none where warm
  std::size_t position_ = 0;
};

}  // namespace octavo::kit
