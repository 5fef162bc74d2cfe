// SPDX-License-Identifier: Apache-2.0
// The machines that the kernel tests walk: those that this CPU can be, and those that only tests
// have.
#pragma once

#include <algorithm>
#include <vector>

#include "backends/cpu/kernels/dot.hpp"

namespace octavo::test {

/// Machines with kernels, this CPU's best first.
const std::vector<cpu::DotMachine>& tested_machines();

/// What they have in one place, each once.
template <class Kernels>
std::vector<const Kernels*> kernels_at(const Kernels* cpu::DotMachine::*place) {
  std::vector<const Kernels*> found;
  for (const cpu::DotMachine& machine : tested_machines()) {
    const Kernels* kernels = machine.*place;
    const bool again = std::find(found.begin(), found.end(), kernels) != found.end();
    if (kernels != nullptr && !again) found.push_back(kernels);
  }
  return found;
}

inline const std::vector<const cpu::IntegerKernels*>& integer_kernels() {
  static const auto all = kernels_at(&cpu::DotMachine::integers);
  return all;
}

/// Does this CPU pack weights for dot products? Else nobody does for the machines of tests either.
inline bool packs_for_dot_products() { return cpu::dot_machine().integers != nullptr; }

}  // namespace octavo::test
