// SPDX-License-Identifier: Apache-2.0
// What a checkpoint declares and no product applies.
#pragma once

#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"
#include "octavo/export.hpp"

namespace octavo {

/// A sentence for each kind of rule that quantised layers have and that is not part of their
/// weights: how a layer's output is quantised (compressed-tensors' output_activations; quanto's
/// output_scale, where it is calibrated). It names how many layers have it, and the first. One more
/// where fp8 tensors are taken for values, since nothing says what else they are. Throws Error
/// (corrupt_data, io).
OCTAVO_API std::vector<std::string> unapplied_rules(const Checkpoint& file);

}  // namespace octavo
