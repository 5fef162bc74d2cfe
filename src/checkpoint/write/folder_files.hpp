// SPDX-License-Identifier: Apache-2.0
// A folder that is written, and the files of the one that is read that hold no tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors/file.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A folder to be. Names are relative to it.
class OutputFolder {
 public:
  /// Makes the folder. Throws Error (invalid_argument: one that is the input, inside it or around
  /// it; io).
  OutputFolder(const char* operation, const std::string& in, const std::string& out);

  const std::string& path() const noexcept { return path_; }
  std::string at(std::string_view name) const;
  bool has(std::string_view name) const noexcept;
  std::int64_t bytes(std::string_view name) const noexcept;  ///< of a file; 0 where there is none
  std::vector<std::string> names() const;                    ///< of what lies in it, sorted
  /// Writes a file in one step.
  void write(std::string_view name, std::string_view text) const;
  void remove(std::string_view name) const noexcept;
  /// Throws Error (io) where the disk has less room.
  void need(std::int64_t bytes) const;

 private:
  const char* operation_;
  std::string path_;
};

/// What a model's folder holds beside its tensors, config.json and index.
struct OtherFiles {
  std::vector<std::string> names;     ///< relative to the folder, those of its folders included
  std::vector<std::string> left_out;  ///< weights in other forms
  std::int64_t bytes = 0;             ///< of `names`
};
/// Names that begin with a dot belong to tools, not to the model: they are neither.
OtherFiles other_files(const Checkpoint& in);

/// Copies a file of folder `from`, in one step; a link is followed.
void copy_file(const std::string& from, const std::string& name, const OutputFolder& out,
               const TemporaryListener& listener);

}  // namespace octavo::checkpoint
