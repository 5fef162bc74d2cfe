// SPDX-License-Identifier: Apache-2.0
// The files of a plan, written one after the other.
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

/// A plan, how it is carried out, and what came of it so far.
class PlanWriter {
 public:
  PlanWriter(const Checkpoint& in, WritePlan plan, const RunOptions& options);

  const WritePlan& plan() const noexcept { return plan_; }
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
  WritePlan plan_;
  const RunOptions& options_;
  QuantizeReport report_;
  std::int64_t done_ = 0, total_ = 0;  ///< bytes of tensors
};

}  // namespace octavo::checkpoint
