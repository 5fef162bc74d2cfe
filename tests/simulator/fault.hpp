// SPDX-License-Identifier: Apache-2.0
// What the simulator reports: a rule of the machine that a kernel broke, and where.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace octavo::cuda::simulator {

/// A place in a source: where a parameter's default says `current()`, its caller's.
/// (std::source_location, which clang 14 does not have.)
struct Where {
  const char* file = "";
  std::uint32_t line = 0;

  static constexpr Where current(const char* file = __builtin_FILE(),
                                 std::uint32_t line = __builtin_LINE()) {
    return {file, line};
  }
};

/// A broken rule: "dense.hpp:57: warp 5 of CTA 1 reads ...".
class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// "dense.hpp:57"
inline std::string spelled(const Where& where) {
  const std::string_view path = where.file;
  return fmt::format("{}:{}", path.substr(path.rfind('/') + 1), where.line);
}

template <class... T>
[[noreturn]] void fault(const Where& where, fmt::format_string<T...> format, T&&... values) {
  throw Fault(spelled(where) + ": " + fmt::format(format, std::forward<T>(values)...));
}

}  // namespace octavo::cuda::simulator
