// SPDX-License-Identifier: Apache-2.0
// Where a command writes, and what it may replace there.
#pragma once

#include <string>

namespace octavo::cli {

/// OUT, which is new unless --overwrite was given. A folder that is replaced stays whole until the
/// new one is: that is written beside it, and takes its place in one step.
class OutputPlace {
 public:
  /// Throws Error (invalid_argument) where OUT is IN, or is there and may not be replaced.
  OutputPlace(const char* operation, const std::string& in, const std::string& out, bool overwrite);

  /// What is to be written; OUT itself but for a folder that is replaced.
  const std::string& path() const noexcept { return path_; }
  /// A sentence about `path` as a sentence about OUT.
  std::string about_out(std::string sentence) const;
  /// All is written. Throws Error (io) where the folder cannot take its place.
  void done();

 private:
  void replace_folder();

  const char* operation_;
  std::string out_, path_;
};

/// Throws Error (invalid_argument) where a file that a command is to write is there, unless
/// `overwrite`.
void refuse_existing(const char* operation, const char* argument, const std::string& path,
                     bool overwrite);

}  // namespace octavo::cli
