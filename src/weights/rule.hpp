// SPDX-License-Identifier: Apache-2.0
// Activation rules of weights that become one.
#pragma once

#include "octavo/export.hpp"
#include "octavo/problem.hpp"

namespace octavo {

/// Whether two rules quantise alike. May differ: the values of a static scale and zero point, which
/// `fuse` merges, and lists of outlier columns.
OCTAVO_INTERNAL_API bool same_rule(const ActivationQuant& a, const ActivationQuant& b) noexcept;

}  // namespace octavo
