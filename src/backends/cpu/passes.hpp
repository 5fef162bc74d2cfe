// SPDX-License-Identifier: Apache-2.0
// What every CPU backend does beside products.
#pragma once

#include "backends/passes.hpp"

namespace octavo::cpu {

extern const Passes kPasses;

}  // namespace octavo::cpu
