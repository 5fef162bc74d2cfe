// SPDX-License-Identifier: Apache-2.0
// Parts of error sentences: untrusted names made safe to print, shapes, and throwing in one step.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.hpp"
#include "octavo/status.hpp"

namespace octavo::checkpoint {

/// Throws octavo::Error with that code and sentence.
template <class... Args>
[[noreturn]] void refuse(Code code, fmt::format_string<Args...> format, Args&&... args) {
  throw_status(fail(code, format, std::forward<Args>(args)...));
}

/// Runs the body of a public entry point: an allocation that failed becomes Error(out_of_memory).
template <class Body>
auto checkpoint_edge(const char* operation, Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    refuse(Code::out_of_memory, "{}: memory must be available; got none", operation);
  }
}

/// 'name' in quotes, on one line and of bounded length whatever the file put there.
std::string in_quotes(std::string_view name);

/// A string as JSON. Throws Error (invalid_argument) for one that is not UTF-8.
std::string json_string(const char* operation, std::string_view text);
/// A finite number as JSON, with a fraction: "6.0".
std::string json_number(double value);

/// "[4, 8]"
std::string shape_text(std::span<const std::int64_t> shape);

}  // namespace octavo::checkpoint
