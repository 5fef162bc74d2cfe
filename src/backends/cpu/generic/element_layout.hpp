// SPDX-License-Identifier: Apache-2.0
// How weights are packed for the float32 tile.
#pragma once

#include "backends/backend.hpp"

namespace octavo::cpu {

/// Version 1: panel after panel of 16 columns, each [K][16] elements in the weight's own type, the
/// last panel padded with zero bytes.
extern const WeightLayout kElementLayout;

}  // namespace octavo::cpu
