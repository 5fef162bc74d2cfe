// SPDX-License-Identifier: Apache-2.0
// The work on one file: blocks of rows of layers that are quantised, layers that are made whole,
// and blocks of bytes of the rest.
#pragma once

#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "checkpoint/open/open_checkpoint.hpp"
#include "checkpoint/safetensors/pieces.hpp"
#include "checkpoint/safetensors/writer.hpp"
#include "checkpoint/steps/plan.hpp"
#include "octavo/code_errors.hpp"

namespace octavo::checkpoint {

/// The pieces of a file, and what they found. Lives as long as they run.
class FileWork {
 public:
  /// threads: of a piece that has work for several.
  FileWork(const char* operation, const Checkpoint::Impl& in, const FilePlan& plan,
           SafetensorsOutput& out, int threads);
  FileWork(const FileWork&) = delete;
  FileWork& operator=(const FileWork&) = delete;

  const std::vector<Piece>& pieces() const noexcept { return pieces_; }
  /// Once all have run: a report for each layer that is quantised, in the plan's order.
  std::vector<LayerReport> reports() const;

 private:
  struct Layer {
    const LayerPlan* plan;
    std::deque<CodeErrors> blocks{};  ///< of the pieces, whose addresses stay
    std::optional<double> nearest_output_error{}, output_error{};
  };
  struct Made {
    const MadePlan* plan;
    LayerReport report;
  };
  void add_layer(const LayerPlan& layer);
  void add_gptq(std::vector<const LayerPlan*> layers);
  void add_copy(const CopyPlan& copy);
  void add_made(const MadePlan& made);
  void quantize(const LayerPlan& plan, std::int64_t row, std::int64_t rows, CodeErrors& errors);
  void write(const LayerPlan& plan, std::int64_t row, const Written& written);

  const char* operation_;
  const Checkpoint::Impl& in_;
  SafetensorsOutput& out_;
  int threads_;
  std::mutex gptq_;  ///< one Hessian is in memory at a time
  std::vector<Piece> pieces_;
  std::deque<Layer> layers_;
  std::deque<Made> made_;
};

}  // namespace octavo::checkpoint
