// SPDX-License-Identifier: Apache-2.0
// octavo help lines
#pragma once

namespace octavo::cli {

/// Prints the grammar of problem lines: what explain and bench read, from the tables of their
/// parsers.
void print_line_help();

}  // namespace octavo::cli
