// SPDX-License-Identifier: Apache-2.0
// Where models say how they are quantised, and whether all places say the same.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The file of a folder that says what a model is.
inline constexpr const char* kConfigFile = "config.json";

/// What the folder `beside` and the files' metadata declare, the one that counts first. A single
/// file's own metadata counts alone. Throws Error (io, corrupt_data: a config.json that is no
/// JSON).
std::vector<Declaration> find_declarations(const std::string& beside, bool is_folder,
                                           const std::vector<CheckpointFile>& files);

/// Whether a file of that name says how a model is quantised: what is written has another.
bool is_declaration(std::string_view name) noexcept;

/// config.json without what it says of quantisation.
std::string without_declarations(std::string config);

/// Throws Error (corrupt_data) where two of them differ in a field that both have. Lists of layers
/// may differ: each file's may list its own.
void check_agreement(const std::vector<Declaration>& declarations);

}  // namespace octavo::checkpoint
