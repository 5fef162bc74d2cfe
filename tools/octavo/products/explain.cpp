// SPDX-License-Identifier: Apache-2.0
// octavo explain LINE: which backend would run a problem, and what the others say.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "commands.hpp"
#include "octavo/problem_line.hpp"
#include "options.hpp"
#include "output.hpp"
#include "read_line.hpp"

namespace octavo::cli {
namespace {

struct ExplainArguments {
  std::vector<std::string> line;  ///< its words
  std::string backend;
  bool json = false;
};

void print_explanation_json(const ProblemLine& line, const Explanation& explanation) {
  for (const Candidate& candidate : explanation.candidates) {
    print_json({{"type", "candidate"},
                {"backend", candidate.backend},
                {"accepts", candidate.accepts},
                {"chosen", candidate.chosen},
                {"reason", candidate.reason}});
  }
  print_json({{"type", "problem"},
              {"line", to_string(line)},
              {"executor", explanation.executor},
              {"error_bound", explanation.error_bound},
              {"workspace_bytes", explanation.workspace_bytes}});
}

int run(const ExplainArguments& arguments) {
  const ProblemLine line = read_line(joined(arguments.line));
  const char* backend = arguments.backend.empty() ? nullptr : arguments.backend.c_str();
  const Explanation explanation = explain(line, {}, backend);
  if (arguments.json) {
    print_explanation_json(line, explanation);
    return kGood;
  }
  std::string text = explanation.to_string();
  if (!text.ends_with('\n')) text += '\n';
  fmt::print("{}\n{}", to_string(line), text);
  return kGood;
}

}  // namespace

CommandBody add_explain(CLI::App& command) {
  const auto arguments = std::make_shared<ExplainArguments>();
  command.add_option("LINE", arguments->line, "The problem, in quotes or not (octavo help lines)")
      ->required();
  command
      .add_option("--backend", arguments->backend, "Ask what this backend says when it is forced")
      ->type_name("NAME")
      ->group(heading::kWork);
  add_json(command, arguments->json, "Print one JSON object per backend and a summary");
  command.footer(
      "A problem line is: operation, A:B:out types, words, MxNxK; octavo help lines has all of "
      "it.\n"
      "Example: octavo explain scaled_mm e4m3fn:e4m3fn:bf16 scale=token:channel 16x4096x14336");
  return [arguments] { return run(*arguments); };
}

}  // namespace octavo::cli
