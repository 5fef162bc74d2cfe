// SPDX-License-Identifier: Apache-2.0
#include "line_help.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "kit/timing/measure_call.hpp"
#include "octavo/dtype.hpp"
#include "octavo/problem_line.hpp"
#include "output.hpp"

namespace octavo::cli {
namespace {

template <class Rules>
void print_words(const Rules& rules) {
  fmt::print("\nWords between types and sizes, in any order:\n");
  Table table({{"word"}, {"must"}});
  for (const auto& [word, rule] : rules) table.add({std::string(word), std::string(rule)});
  table.print();
}

}  // namespace

void print_line_help() {
  std::vector<std::string_view> types;
  for (const DTypeInfo& type : kDTypes) {
    using enum DTypeKind;
    if (type.kind != none && type.kind != foreign && type.kind != index) {
      types.push_back(type.short_name);
    }
  }
  fmt::print(
      "A line says a problem: an operation, types, words, sizes. It may stand in quotes or not.\n\n"
      "  octavo explain scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel bias 16x4096x14336\n"
      "  octavo explain grouped_mm int8:int8:bf16 groups=32+0+32+64 128x1536x2048\n\n"
      "Types: {}.\n\n"
      "Products (explain, bench): {}\n"
      "  OPERATION A:B:OUT WORDS MxNxK; A is [M, K], B [K, N], the output [M, N].\n",
      fmt::join(types, ", "), fmt::join(problem_line_operations(), ", "));
  print_words(problem_line_words());
  for (const kit::CallKind& kind : kit::call_kinds()) {
    const kit::LineHelp help = kind.help();
    fmt::print("\n{} (bench)\n", kind.operation);
    for (const char* sentence : {help.parts, help.types, help.sizes})
      fmt::print("  {}.\n", sentence);
    print_words(help.words);
  }
}

}  // namespace octavo::cli
