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
using Run = std::function<int()>;

// Each adds its options to `command`. What they are parsed into lives as long as the Run.
Run add_quantize(CLI::App& command);
Run add_inspect(CLI::App& command);
Run add_verify(CLI::App& command);
Run add_compare(CLI::App& command);
Run add_report(CLI::App& command);
Run add_convert(CLI::App& command);
Run add_dequantize(CLI::App& command);
Run add_explain(CLI::App& command);
Run add_plan(CLI::App& command);
Run add_info(CLI::App& command);
Run add_bench(CLI::App& command);
Run add_try(CLI::App& command);
Run add_completion(CLI::App& command);

}  // namespace octavo::cli
