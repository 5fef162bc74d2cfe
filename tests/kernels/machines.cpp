// SPDX-License-Identifier: Apache-2.0
// The table of machines that only tests have: what an instruction computes, in plain C++.
#include <string_view>

#include "machines.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;
extern const cpu::DotMachine kBlocksMachine;
extern const cpu::DotMachine kPairsMachine;
#if defined(__x86_64__)
extern const cpu::AmxKernels kSimulatedAmx;
#endif

namespace {

const cpu::DotMachine* const kTestMachines[] = {
    &kPlainMachine,
    &kBlocksMachine,
    &kPairsMachine,
};

// The CPU's own machine with AVX-512 BF16 and VBMI, with simulated AMX.
void add_amx([[maybe_unused]] std::vector<cpu::DotMachine>& machines) {
#if defined(__x86_64__)
  for (const cpu::DotMachine& machine : machines) {
    if (std::string_view(machine.name) != "AVX-512 BF16, VBMI, VNNI") continue;
    cpu::DotMachine amx = machine;
    amx.name = "plain C++, AMX's registers";
    amx.few_rows = amx.integers;
    amx.integers = &kSimulatedAmx.integers;
    amx.float8 = &kSimulatedAmx.float8;
    amx.pairs = &kSimulatedAmx.pairs;
    amx.beside_pairs = &kSimulatedAmx.beside_pairs;
    machines.push_back(amx);
    return;
  }
#endif
}

}  // namespace

const std::vector<cpu::DotMachine>& tested_machines() {
  static const std::vector<cpu::DotMachine> all = [] {
    std::vector<cpu::DotMachine> found;
    for (const cpu::DotMachine& machine : cpu::usable_dot_machines()) {
      if (machine.integers != nullptr) found.push_back(machine);
    }
    add_amx(found);
    for (const cpu::DotMachine* machine : kTestMachines) found.push_back(*machine);
    return found;
  }();
  return all;
}

}  // namespace octavo::test
