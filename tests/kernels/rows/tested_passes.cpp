// SPDX-License-Identifier: Apache-2.0
#include "support/tested_passes.hpp"

#include "backends/cpu/passes.hpp"

namespace octavo::test {

TestedPasses tested() { return {&cpu::kPasses, {}}; }

}  // namespace octavo::test
