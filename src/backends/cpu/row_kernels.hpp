// SPDX-License-Identifier: Apache-2.0
// Which kernels of rows this CPU can run.
#pragma once

#include <span>

#include "backends/cpu/kernels/row_contract.hpp"

namespace octavo::cpu {

/// The kernels that this CPU can run, best first.
std::span<const Kernels* const> usable_kernels() noexcept;
inline const Kernels& best_kernels() noexcept { return *usable_kernels().front(); }

}  // namespace octavo::cpu
