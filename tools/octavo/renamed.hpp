// SPDX-License-Identifier: Apache-2.0
// Spellings that are read until 1.0, with a notice, and what they are called now.
#pragma once

#include <string>
#include <string_view>

namespace octavo::cli {

/// Where the words of problem lines stand; options stand behind their command.
inline constexpr std::string_view kProblemLine = "problem line";

/// "--was=3" or "was=3" as it is spelled now. Warns where that is another word.
std::string current_spelling(std::string_view where, std::string word);

}  // namespace octavo::cli
