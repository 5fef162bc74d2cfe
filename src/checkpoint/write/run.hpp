// SPDX-License-Identifier: Apache-2.0
// Carrying out a plan: a file or a folder in, the same out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/steps/plan.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// As many as were asked for; else those that the default executor has.
int most_threads(int wanted);

/// The files of a plan, one after the other.
class Run {
 public:
  Run(const Checkpoint& in, Plan plan, const RunOptions& options);

  const Plan& plan() const noexcept { return plan_; }
  const RunOptions& options() const noexcept { return options_; }
  QuantizeReport& report() noexcept { return report_; }
  /// The layout of an output file with that metadata.
  FileLayout layout(std::size_t file, const std::map<std::string, std::string>& metadata) const;

  /// Writes an output file. Throws Error.
  void write(std::size_t file, const std::string& path,
             const std::map<std::string, std::string>& metadata);
  /// Counts a file that an earlier run has written.
  void take_over(std::size_t file, std::vector<LayerReport> layers);

 private:
  const Checkpoint& in_;
  Plan plan_;
  const RunOptions& options_;
  QuantizeReport report_;
  std::int64_t done_ = 0, total_ = 0;  ///< bytes of tensors
};

/// Writes what a plan says to `out`: a file where `in` is one, else a folder. Throws Error.
QuantizeReport carry_out(const Checkpoint& in, const std::string& out, Plan plan,
                         const RunOptions& options);

}  // namespace octavo::checkpoint
