// SPDX-License-Identifier: Apache-2.0
// A canonical weight as the float matrix that it stands for.
#pragma once

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// [N, K] of a float type, its columns in the order of the activations. Throws Error.
Tensor float_weight(const Weight& weight, DType dtype);

}  // namespace octavo::checkpoint
