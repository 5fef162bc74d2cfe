// SPDX-License-Identifier: Apache-2.0
// What quantising did to a weight.
#pragma once

#include <cstdint>
#include <string_view>

#include "octavo/checkpoint.hpp"
#include "octavo/code_errors.hpp"

namespace octavo::checkpoint {

/// The report of a layer, but for the bytes that it takes.
LayerReport report_of(std::string_view layer, std::int64_t n, std::int64_t k,
                      const CodeErrors& error);

/// All of it. Throws Error (corrupt_data) for a weight that is not finite.
LayerReport measure(const char* operation, std::string_view layer, const TensorView& weight,
                    const Quantized& quantized);

}  // namespace octavo::checkpoint
