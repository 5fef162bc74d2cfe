// SPDX-License-Identifier: Apache-2.0
// Parts of error sentences: untrusted names made safe to print, and shapes.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "octavo/status.hpp"

namespace octavo::checkpoint {

/// 'name' in quotes, on one line and of bounded length whatever the file put there.
std::string in_quotes(std::string_view name);

bool is_utf8(std::string_view text);

/// A string as JSON. Throws Error (invalid_argument) for one that is not UTF-8.
std::string json_string(const char* operation, std::string_view text);
/// The same of several, as an array.
std::string json_strings(const char* operation, const std::vector<std::string>& texts);
/// A finite number as JSON, with a fraction: "6.0".
std::string json_number(double value);

/// "[4, 8]"
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace octavo::checkpoint
