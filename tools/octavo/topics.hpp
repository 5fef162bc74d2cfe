// SPDX-License-Identifier: Apache-2.0
// What `octavo help NAME` explains that is no command.
#pragma once

#include <array>

#include "json_help.hpp"
#include "products/line_help.hpp"

namespace octavo::cli {

struct Topic {
  const char* name;
  const char* summary;
  void (*print)();
};
inline constexpr std::array kTopics{
    Topic{"lines", "the grammar of problem lines", print_line_help},
    Topic{"json", "the fields of what --json prints", print_json_help}};

}  // namespace octavo::cli
