// SPDX-License-Identifier: Apache-2.0
// octavo help json
#pragma once

namespace octavo::cli {

/// Prints the objects that --json prints: for each command and type the fields and what they mean.
void print_json_help();

}  // namespace octavo::cli
