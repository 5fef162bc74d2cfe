// SPDX-License-Identifier: Apache-2.0
// A report for people: tables of what its JSON says.
#pragma once

#include "output.hpp"

namespace octavo::cli {

/// Prints the report's layers with their SQNR in each scheme, the speed of each shape, and how many
/// layers go to which scheme.
void print_report(const Json& report);

}  // namespace octavo::cli
