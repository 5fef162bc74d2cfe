// SPDX-License-Identifier: Apache-2.0
// The integer kernels of all machines that this CPU can be.
#pragma once

#include <vector>

#include "backends/cpu/kernels/dot.hpp"

namespace octavo::test {

/// Each once, best first.
inline const std::vector<const cpu::IntegerKernels*>& usable_integer_kernels() {
  static const std::vector<const cpu::IntegerKernels*> all = [] {
    std::vector<const cpu::IntegerKernels*> found;
    for (const cpu::DotMachine& machine : cpu::usable_dot_machines()) {
      if (machine.integers == nullptr) continue;
      if (found.empty() || found.back() != machine.integers) found.push_back(machine.integers);
    }
    return found;
  }();
  return all;
}

}  // namespace octavo::test
