// SPDX-License-Identifier: Apache-2.0
// Whether other tools will see that a file is quantised: they read config.json beside it.
#pragma once

#include <string>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A sentence for a config.json in the folder of `path` that does not declare what `config`
/// does (lists of layers aside), the text of the file's own metadata, with what to add. Nothing
/// where there is no config.json.
std::vector<std::string> declaration_warnings(const char* operation, const std::string& path,
                                              const std::string& config);

}  // namespace octavo::checkpoint
