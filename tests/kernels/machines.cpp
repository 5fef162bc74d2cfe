// SPDX-License-Identifier: Apache-2.0
// The table of machines that only tests have: what an instruction computes, in plain C++.
#include "machines.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;
extern const cpu::DotMachine kBlocksMachine;
extern const cpu::DotMachine kPairsMachine;

namespace {

const cpu::DotMachine* const kTestMachines[] = {
    &kPlainMachine,
    &kBlocksMachine,
    &kPairsMachine,
};

}  // namespace

const std::vector<cpu::DotMachine>& tested_machines() {
  static const std::vector<cpu::DotMachine> all = [] {
    std::vector<cpu::DotMachine> found;
    for (const cpu::DotMachine& machine : cpu::usable_dot_machines()) {
      if (machine.integers != nullptr) found.push_back(machine);
    }
    for (const cpu::DotMachine* machine : kTestMachines) found.push_back(*machine);
    return found;
  }();
  return all;
}

}  // namespace octavo::test
