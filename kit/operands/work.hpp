// SPDX-License-Identifier: Apache-2.0
// What a problem must do at least, and how long that takes a machine.
#pragma once

#include <vector>

#include "octavo/problem.hpp"

namespace octavo::kit {

/// One member's multiplications and additions, and the bytes that must move once for it.
struct MemberWork {
  double ops = 0;
  double bytes = 0;
};

/// The least time of a problem: the sum over its members of max(ops / peak, bytes / bandwidth). A
/// member that is bound by memory does not get the time back in which another one computes, since
/// members run one after the other.
struct Floor {
  double seconds = 0;
  bool memory_bound =
      false;  ///< for more than half of that time, memory is what a member waits for
};

/// The work of the members that have rows: the weight of one without is not touched.
struct Work {
  double ops = 0;
  double bytes = 0;
  std::vector<MemberWork> members;

  /// With so many operations (1e9) and so many bytes (1e9) in a second.
  Floor floor(double gops, double gbps) const;
};
Work work_of(const MatmulProblem& problem);

/// Bytes of an operand B's codes, packed or not.
double weight_bytes(const OperandView& b);

}  // namespace octavo::kit
