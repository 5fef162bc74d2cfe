// SPDX-License-Identifier: Apache-2.0
// One run over a checkpoint: its plan, the files that have been written, what was found.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/impl.hpp"
#include "checkpoint/quantize_plan.hpp"
#include "checkpoint/recipe.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

class QuantizeRun {
 public:
  /// Throws Error, as plan_quantisation. `options` has to outlive the run.
  QuantizeRun(const Checkpoint& in, const QuantizeFileOptions& options);

  const QuantizePlan& plan() const noexcept { return plan_; }
  /// "quantization_config" of what is written, as JSON.
  const std::string& config() const noexcept { return config_; }
  const QuantizeFileOptions& options() const noexcept { return options_; }
  QuantizeReport& report() noexcept { return report_; }
  /// The layout of an output file with that metadata.
  FileLayout layout(std::size_t file, const std::map<std::string, std::string>& metadata) const;

  /// Writes an output file. Throws Error.
  void quantise(std::size_t file, const std::string& path,
                const std::map<std::string, std::string>& metadata);
  /// Counts a file that an earlier run has written.
  void take_over(std::size_t file, std::vector<LayerReport> layers);

 private:
  const Checkpoint& in_;
  const Checkpoint::Impl& impl_;
  const QuantizeFileOptions& options_;
  const Recipe& recipe_;
  QuantizePlan plan_;
  std::string config_;
  QuantizeReport report_;
  std::int64_t done_ = 0, total_ = 0;  ///< bytes of tensors
};

}  // namespace octavo::checkpoint
