// SPDX-License-Identifier: Apache-2.0
// The machines that the kernel tests walk: those that this CPU can be, and those that only tests
// have.
#pragma once

#include <algorithm>
#include <vector>

#include "backends/cpu/dot/machines.hpp"

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
  static const auto all = [] {
    auto found = kernels_at(&cpu::DotMachine::integers);
    for (const cpu::IntegerKernels* few : kernels_at(&cpu::DotMachine::few_rows)) {
      if (std::find(found.begin(), found.end(), few) == found.end()) found.push_back(few);
    }
    return found;
  }();
  return all;
}

inline const std::vector<const cpu::DotKernels*>& pair_kernels() {
  static const auto all = [] {
    auto found = kernels_at(&cpu::DotMachine::pairs);
    for (const cpu::DotKernels* few : kernels_at(&cpu::DotMachine::few_pairs)) found.push_back(few);
    return found;
  }();
  return all;
}

/// The backend that packs weights for dot products here, for the machines of tests too; null: none.
inline const char* dot_packer() {
  if (cpu::dot_machine(cpu::DotRegisters::zmm).integers != nullptr) return "avx512";
  if (cpu::dot_machine(cpu::DotRegisters::sve).integers != nullptr) return "sve";
  if (cpu::dot_machine(cpu::DotRegisters::neon).integers != nullptr) return "neon";
  return cpu::dot_machine().integers != nullptr ? "avx2" : nullptr;
}

}  // namespace octavo::test
