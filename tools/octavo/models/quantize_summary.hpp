// SPDX-License-Identifier: Apache-2.0
// What octavo quantize says of what it has written.
#pragma once

#include <string_view>

#include "octavo/checkpoint.hpp"
#include "transfer.hpp"

namespace octavo::cli {

/// An object `layer` for each, and `summary`. `scheme`: a scheme's name, or that of a file's
/// blocks.
void print_summary_json(const TransferArguments& arguments, std::string_view scheme,
                        const QuantizeReport& report);

/// Sizes, errors and the worst layers, for people.
void print_summary(const TransferArguments& arguments, std::string_view scheme,
                   const QuantizeReport& report);

}  // namespace octavo::cli
