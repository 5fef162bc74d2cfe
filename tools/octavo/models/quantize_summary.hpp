// SPDX-License-Identifier: Apache-2.0
// What octavo quantize says of what it has written.
#pragma once

#include "octavo/checkpoint.hpp"
#include "transfer.hpp"

namespace octavo::cli {

/// An object `layer` for each, and `summary`.
void print_summary_json(const TransferArguments& arguments, Scheme scheme,
                        const QuantizeReport& report);

/// Sizes, errors and the worst layers, for people.
void print_summary(const TransferArguments& arguments, Scheme scheme, const QuantizeReport& report);

}  // namespace octavo::cli
