// SPDX-License-Identifier: Apache-2.0
// The failures that the program tells apart by its exit code.
#pragma once

#include <stdexcept>

namespace reverse_dictionary {

/// A command line that cannot be followed (exit code 2).
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file or an argument that is there, but does not hold what it must (exit code 3).
struct BadInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A model, vocabulary, dictionary or output place that cannot be opened (exit code 4).
struct MissingResource : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace reverse_dictionary
