// SPDX-License-Identifier: Apache-2.0
// What quantising did to one weight.
#pragma once

#include <string_view>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// Compares the weight [N, K] of that layer with its codes. Throws Error (corrupt_data) for a
/// weight that is not finite.
LayerReport measure(const char* operation, std::string_view layer, const TensorView& weight,
                    const Quantized& quantized);

}  // namespace octavo::checkpoint
