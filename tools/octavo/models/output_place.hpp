// SPDX-License-Identifier: Apache-2.0
// Where a command writes, and what it may replace there.
#pragma once

#include <string>

namespace octavo::cli {

/// OUT, which is new unless --overwrite was given. A folder that is replaced stays whole until the
/// new one is: that is written beside it, and takes its place in one step. Until this ends nobody
/// else replaces it.
class OutputPlace {
 public:
  /// Throws Error (invalid_argument) where OUT is IN, is there and may not be replaced, or is being
  /// replaced by another run.
  OutputPlace(const char* operation, const std::string& in, const std::string& out, bool overwrite);
  OutputPlace(const OutputPlace&) = delete;
  OutputPlace& operator=(const OutputPlace&) = delete;
  ~OutputPlace();

  /// What is to be written; OUT itself but for a folder that is replaced.
  const std::string& path() const noexcept { return path_; }
  /// A sentence about `path` as a sentence about OUT.
  std::string about_out(std::string sentence) const;
  /// All is written. Throws Error (io) where the folder cannot take its place.
  void done();

 private:
  void lock_folder();
  void replace_folder();

  const char* operation_;
  std::string out_, path_;
  int lock_ = -1;  ///< the folder that is replaced, under whichever name
};

/// Throws Error (invalid_argument) where a file that a command is to write is there, unless
/// `overwrite`.
void refuse_existing(const char* operation, const char* argument, const std::string& path,
                     bool overwrite);

}  // namespace octavo::cli
