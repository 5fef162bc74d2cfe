// SPDX-License-Identifier: Apache-2.0
// What a signal must not leave behind: the temporary file of a checkpoint that is being written.
#pragma once

#include <string>

namespace octavo::cli {

/// While it lives, SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGXCPU remove the temporary file and end
/// the program as they would have (one that was ignored stays so), and a file that grows past the
/// limit of the process (SIGXFSZ) is an error of writing. One at a time.
class Interruption {
 public:
  Interruption();
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption();

  /// The temporary file that is there from now on; "": none.
  void set_temporary(const std::string& path);
};

}  // namespace octavo::cli
