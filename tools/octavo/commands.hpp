// SPDX-License-Identifier: Apache-2.0
// The subcommands: each declares its options and gives back what to run once they are parsed.
#pragma once

#include <CLI/App.hpp>
#include <functional>

namespace octavo::cli {

/// What the process returns.
enum ExitCode : int {
  kGood = 0,
  kCheckFailed = 1,
  kUsage = 2,
  kBadInput = 3,
  kMissingResource = 4,
};

/// Runs a parsed command and returns its exit code; failures leave as octavo::Error.
using CommandBody = std::function<int()>;

// Each adds its options to `command`. What they are parsed into lives as long as the CommandBody.
CommandBody add_quantize(CLI::App& command);
CommandBody add_inspect(CLI::App& command);
CommandBody add_verify(CLI::App& command);
CommandBody add_compare(CLI::App& command);
CommandBody add_report(CLI::App& command);
CommandBody add_evaluate(CLI::App& command);
CommandBody add_convert(CLI::App& command);
CommandBody add_dequantize(CLI::App& command);
CommandBody add_schemes(CLI::App& command);
CommandBody add_explain(CLI::App& command);
CommandBody add_plan(CLI::App& command);
CommandBody add_info(CLI::App& command);
CommandBody add_bench(CLI::App& command);
CommandBody add_try(CLI::App& command);
CommandBody add_completion(CLI::App& command);

}  // namespace octavo::cli
