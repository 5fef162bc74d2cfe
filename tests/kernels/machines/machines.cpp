// SPDX-License-Identifier: Apache-2.0
// The table of machines that only tests have: what an instruction computes, in plain C++.
#include <algorithm>
#include <array>
#include <string_view>

#include "backends/cpu/dot/machines.hpp"
#include "machines.hpp"

namespace octavo::test {

extern const cpu::DotMachine kPlainMachine;
extern const cpu::DotMachine kBlocksMachine;
extern const cpu::DotMachine kPairsMachine;
#if defined(__x86_64__)
extern const cpu::AmxKernels kSimulatedAmx;
extern const cpu::IntegerKernels kSimulatedAvxVnni;
extern const cpu::IntegerKernels kSimulatedAvxVnniInt8;
#endif

namespace {

const cpu::DotMachine* const kTestMachines[] = {
    &kPlainMachine,
    &kBlocksMachine,
    &kPairsMachine,
};

// One of the CPU's own machines with instructions that it may lack, simulated.
struct Simulated {
  std::string_view beside;  // the machine's name
  const char* name;
  void (*put_in)(cpu::DotMachine& machine);
};

constexpr std::array kSimulated {
#if defined(__x86_64__)
  Simulated{"AVX-512 BF16, VBMI, VNNI", "plain C++, AMX's registers",
            [](cpu::DotMachine& machine) {
              machine.few_rows = machine.integers;
              machine.few_rows_of_unpacked = 16;
              machine.integers = &kSimulatedAmx.integers;
              machine.float8 = &kSimulatedAmx.float8;
              machine.pairs = &kSimulatedAmx.pairs;
              machine.beside_pairs = &kSimulatedAmx.beside_pairs;
            }},
      Simulated{"AVX-512 BF16, VBMI, VNNI", "plain C++, AMX FP8",
                [](cpu::DotMachine& machine) { machine.e4m3 = &kSimulatedAmx.e4m3; }},
      Simulated{"AVX2, FMA", "plain C++, AVX-VNNI",
                [](cpu::DotMachine& machine) {
                  machine.few_rows = nullptr;
                  machine.integers = &kSimulatedAvxVnni;
                }},
      Simulated{"AVX2, FMA", "plain C++, AVX-VNNI-INT8", [](cpu::DotMachine& machine) {
                  machine.few_rows = nullptr;
                  machine.integers = &kSimulatedAvxVnniInt8;
                }},
#else
  Simulated{"", "", nullptr},
#endif
};

void add_simulated(std::vector<cpu::DotMachine>& machines) {
  for (const Simulated& simulated : kSimulated) {
    const auto beside = std::ranges::find(machines, simulated.beside, &cpu::DotMachine::name);
    if (beside == machines.end()) continue;
    cpu::DotMachine machine = *beside;
    machine.name = simulated.name;
    simulated.put_in(machine);
    machines.push_back(machine);
  }
}

}  // namespace

const std::vector<cpu::DotMachine>& tested_machines() {
  static const std::vector<cpu::DotMachine> all = [] {
    std::vector<cpu::DotMachine> found;
    for (const cpu::DotMachine& machine : cpu::usable_dot_machines()) {
      if (machine.integers != nullptr) found.push_back(machine);
    }
    add_simulated(found);
    for (const cpu::DotMachine* machine : kTestMachines) found.push_back(*machine);
    return found;
  }();
  return all;
}

}  // namespace octavo::test
