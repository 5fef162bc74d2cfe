// SPDX-License-Identifier: Apache-2.0
// What a run over a folder has finished, so that one that was ended can be taken up: a file in the
// output folder while the run lasts.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/steps/plan.hpp"
#include "checkpoint/write/folder_files.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

class Job {
 public:
  /// The job of making `out` of `in` by a plan. Throws Error (invalid_argument) where the folder
  /// holds something that is not of this job.
  Job(const OutputFolder& out, const Checkpoint& in, const WritePlan& plan);

  void begin() const;
  /// The layers of a file that an earlier run of the same job has written whole. A file with
  /// another size or header than this job gives it is none.
  std::optional<std::vector<LayerReport>> finished(std::string_view file,
                                                   const FileLayout& layout) const;
  void finish(std::string_view file, std::span<const LayerReport> layers);
  void end() const noexcept;
  /// Removes every file that the job has finished, and what it knows of them.
  void undo() noexcept;

 private:
  void read(const std::string& text);
  std::string text() const;
  void save() const;

  const char* operation_;
  const OutputFolder& out_;
  std::string identity_;
  std::map<std::string, std::vector<LayerReport>, std::less<>> done_;
};

}  // namespace octavo::checkpoint
