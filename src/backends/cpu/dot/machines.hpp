// SPDX-License-Identifier: Apache-2.0
// Which dot-product kernels this CPU can run.
#pragma once

#include <cstdint>
#include <span>

#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {

/// Registers that machines' vectors lie in; a backend each.
enum class DotRegisters : std::uint8_t { zmm, ymm, sve, neon, none };

/// The rows of `dot/machines.cpp` that this CPU can run, best first, the last without kernels; the
/// first of them; and the first in some registers, or the one without kernels.
std::span<const DotMachine> usable_dot_machines() noexcept;
const DotMachine& dot_machine() noexcept;
const DotMachine& dot_machine(DotRegisters registers) noexcept;
/// The first row in some registers for a CPU that has every extension, on vectors as long as this
/// one's.
const DotMachine& best_dot_machine(DotRegisters registers) noexcept;

}  // namespace octavo::cpu
