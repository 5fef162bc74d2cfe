// SPDX-License-Identifier: Apache-2.0
// Packed weights whose codes are not there.
#pragma once

#include "octavo/packed.hpp"

namespace octavo {

/// What pack gives, its scales where they lie and no codes: to be explained and planned, not run.
/// The weight's memory is not read. Throws Error.
PackedWeight outline(const Operand& weight, const PackOptions& options);

}  // namespace octavo
