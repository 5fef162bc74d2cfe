// SPDX-License-Identifier: Apache-2.0
// A folder that is written, and the files of the one that is read that hold no tensors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors/file.hpp"
#include "checkpoint/safetensors/writer.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// A folder to be, which is locked (flock) while this lives, where its file system has locks. Names
/// are relative to it.
class OutputFolder {
 public:
  /// Makes the folder, and those around it. Throws Error (invalid_argument: one that is the input,
  /// inside it or around it, or that another run writes; io).
  OutputFolder(const char* operation, const std::string& in, const std::string& out,
               TemporaryListener listener);

  const std::string& path() const noexcept { return path_; }
  std::string at(std::string_view name) const;
  /// Whether a file has the size and the header that this layout gives it.
  bool holds(std::string_view name, const FileLayout& layout) const;
  std::int64_t bytes(std::string_view name) const noexcept;  ///< of a file; 0 where there is none
  std::vector<std::string> names() const;                    ///< of what lies in it, sorted
  /// Writes a file in one step.
  void write(std::string_view name, std::string_view text) const;
  /// Copies a file of folder `from`, in one step; a link is followed.
  void copy(const std::string& from, const std::string& name) const;
  void remove(std::string_view name) const noexcept;
  /// Removes the folders that were made for it, where they are empty.
  void remove_made() const noexcept;
  /// Throws Error (io) where the disk has less room.
  void need(std::int64_t bytes) const;

 private:
  void make();

  const char* operation_;
  std::string path_;
  TemporaryListener listener_;
  std::vector<std::string> made_;  ///< the innermost first
  Descriptor lock_;
};

/// What a model's folder holds beside its tensors, config.json and index.
struct OtherFiles {
  std::vector<std::string> names;     ///< relative to the folder, those of its folders included
  std::vector<std::string> left_out;  ///< weights in other forms
  std::int64_t bytes = 0;             ///< of `names`
};
/// Names that begin with a dot belong to tools, not to the model: they are neither.
OtherFiles other_files(const Checkpoint& in);

}  // namespace octavo::checkpoint
