// SPDX-License-Identifier: Apache-2.0
#include "transfer.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "octavo/status.hpp"
#include "output.hpp"

namespace octavo::cli {

void add_transfer_options(CLI::App& command, TransferArguments& arguments) {
  command.add_option("IN", arguments.in, "A safetensors file, its index, or a model's folder")
      ->required();
  command
      .add_option("OUT", arguments.out,
                  "The file to write, in one step, may be IN; of a folder: a new or empty folder")
      ->required();
  command.add_option("--layout", arguments.layout,
                     "A JSON file that says what the modules of a model of your own are "
                     "(docs/checkpoints.md)");
  command.add_option("--threads", arguments.threads, "How many threads work (0: all)")
      ->check(CLI::Range(0, 4096));
  command
      .add_option("--progress", arguments.progress,
                  "auto: a bar where standard error is a terminal; never; json: a line for each "
                  "step, on standard error")
      ->check(CLI::IsMember({"auto", "never", "json"}));
  command.add_flag("--json", arguments.json, "Print JSON, one object on a line");
  command.add_flag("--quiet", arguments.quiet, "No progress and no summary");
}

void check_files(const char* operation, const TransferArguments& arguments) {
  for (const std::string& path : {arguments.in, arguments.out}) {
    if (path != "-") continue;
    throw Error(
        Status(Code::invalid_argument,
               fmt::format("{}: IN and OUT must name files or folders, which are written in one "
                           "step; got '-'",
                           operation)));
  }
}

Transfer::Transfer(const TransferArguments& arguments)
    : progress_(arguments.quiet ? "never" : arguments.progress) {}

void Transfer::end(const QuantizeReport& report) {
  progress_.clear();
  for (const std::string& warning : report.warnings) warn(warning);
}

}  // namespace octavo::cli
