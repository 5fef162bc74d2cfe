// SPDX-License-Identifier: Apache-2.0
// What the commands share that write a file or folder of another one: arguments, progress, signals.
#pragma once

#include <CLI/App.hpp>
#include <functional>
#include <string>

#include "interruption.hpp"
#include "octavo/checkpoint.hpp"
#include "output_place.hpp"
#include "progress.hpp"

namespace octavo::cli {

struct TransferArguments {
  std::string in, out;
  std::string layout;  ///< a file
  int threads = 0;
  std::string progress = "auto";
  bool json = false;
  bool quiet = false;
  bool overwrite = false;
};

void add_transfer_options(CLI::App& command, TransferArguments& arguments);

/// Throws Error (invalid_argument) for "-": files are written in one step, which a stream is not.
void check_files(const char* operation, const TransferArguments& arguments);

/// Where a file is written to; progress and signal handlers meanwhile.
class Transfer {
 public:
  /// Throws Error where OUT may not be written.
  Transfer(const char* operation, const TransferArguments& arguments);

  /// What it is to read, and where it is to write.
  const std::string& in() const noexcept { return in_; }
  const std::string& out() const noexcept { return place_.path(); }

  /// Sets what the library calls meanwhile.
  template <class Options>
  void watch(Options& options, const TransferArguments& arguments) {
    options.threads = arguments.threads;
    options.layout = arguments.layout;
    options.at = [this](std::string_view name) { progress_.at(name); };
    options.progress = [this](std::int64_t done, std::int64_t total) {
      progress_.update(done, total);
    };
    options.temporary = [this](const std::string& path) { interruption_.set_temporary(path); };
  }
  /// Ends the progress, puts what was written in its place and prints the warnings.
  void end(QuantizeReport& report);

 private:
  std::string in_;
  OutputPlace place_;
  Progress progress_;
  Interruption interruption_;
};

}  // namespace octavo::cli
