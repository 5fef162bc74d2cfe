// SPDX-License-Identifier: Apache-2.0
// octavo schemes: what each scheme is, costs and is loaded by.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "commands.hpp"
#include "options.hpp"
#include "output.hpp"
#include "scheme_facts.hpp"

namespace octavo::cli {
namespace {

constexpr std::int64_t kSize = 4096;  // of the layer whose bytes are shown

void print_schemes_json() {
  for (const SchemeFacts& facts : kSchemeFacts) {
    print_json({{"type", "scheme"},
                {"name", scheme_name(facts.scheme)},
                {"weight", facts.weight},
                {"activations", facts.activations},
                {"scale_bytes", facts.scale_bytes},
                {"rows_of_scale", facts.rows},
                {"columns_of_scale", facts.columns},
                {"bytes_per_weight", facts.bytes_per_weight(kSize, kSize)},
                {"loss_nats", facts.loss},
                {"format", facts.format},
                {"loaders", facts.loaders}});
  }
}

void print_schemes() {
  Table table({{"scheme"},
               {"weight"},
               {"activations"},
               {"bytes", true},
               {"loss", true},
               {"format"},
               {"loaded by Octavo and"}});
  for (const SchemeFacts& facts : kSchemeFacts) {
    table.add({std::string(scheme_name(facts.scheme)), facts.weight, facts.activations,
               fmt::format("{:.4f}", facts.bytes_per_weight(kSize, kSize)),
               fmt::format("{:+.4f}", facts.loss), facts.format, facts.loaders});
  }
  table.print();
  fmt::print(
      "\nbytes: of a weight of a {0} x {0} layer, scales included; bfloat16 has 2\n"
      "loss: cross entropy over the float model's, in nats, of a model of 135 million parameters "
      "(docs/accuracy.md)\n"
      "The output head stays in float, unless octavo quantize --head asks: less time with few "
      "rows, "
      "more loss.\n",
      kSize);
}

}  // namespace

CommandBody add_schemes(CLI::App& command) {
  const auto json = std::make_shared<bool>(false);
  add_json(command, *json, "Print one JSON object per scheme");
  command.footer("octavo quantize --scheme NAME takes one of them; octavo report tries all.");
  return [json] {
    *json ? print_schemes_json() : print_schemes();
    return static_cast<int>(kGood);
  };
}

}  // namespace octavo::cli
