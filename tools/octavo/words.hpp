// SPDX-License-Identifier: Apache-2.0
// The words of the command line, and the one that somebody may have meant.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo::cli {

/// What --scheme and --schemes may say.
inline constexpr const auto& kSchemes = kAllSchemes;

std::vector<std::string> command_names(const CLI::App& app);
/// "--scheme", ...: all spellings of a command's options.
std::vector<std::string> option_names(const CLI::App& command);

/// CLI::Range, for numbers alone: NaN is in none.
CLI::Validator between(double least, double most);

/// The name that is at most a third of its letters away; empty where none is.
std::string nearest(std::string_view word, const std::vector<std::string>& names);

}  // namespace octavo::cli
