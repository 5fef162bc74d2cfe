// SPDX-License-Identifier: Apache-2.0
#include "transfer.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "hub.hpp"
#include "octavo/status.hpp"
#include "options.hpp"
#include "output.hpp"

namespace octavo::cli {

void add_transfer_options(CLI::App& command, TransferArguments& arguments) {
  add_model(command, "IN", arguments.in)->required();
  command
      .add_option("OUT,-o,--out", arguments.out,
                  "The file to write, in one step; of a folder: a new or empty folder")
      ->type_name("PATH")
      ->group(heading::kOutput);
  // Not required(): CLI11 would call it --out.
  command.final_callback([&arguments] {
    if (arguments.out.empty()) throw CLI::RequiredError("OUT");
  });
  command
      .add_option("--layout", arguments.layout,
                  "A JSON file that says what the modules of a model of your own are "
                  "(docs/checkpoints.md)")
      ->type_name("FILE")
      ->group(heading::kLayers);
  add_threads(command, arguments.threads);
  add_progress(command, arguments.progress);
  add_json(command, arguments.json, "Print JSON, one object on a line");
  add_overwrite(command, arguments.overwrite,
                "Replace what OUT is: a file, or the folder of a model; in one step at the end");
  add_quiet(command, arguments.quiet, "No progress and no summary");
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

Transfer::Transfer(const char* operation, const TransferArguments& arguments)
    : in_(find_model(operation, arguments.in)),
      place_(operation, in_, arguments.out, arguments.overwrite),
      progress_(arguments.quiet ? "never" : arguments.progress) {}

void Transfer::end(QuantizeReport& report) {
  progress_.clear();
  place_.done();
  for (std::string& warning : report.warnings) {
    warning = place_.about_out(std::move(warning));
    warn(warning);
  }
}

}  // namespace octavo::cli
