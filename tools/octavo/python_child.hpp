// SPDX-License-Identifier: Apache-2.0
// python3 as a child process that the working folder has no part in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace octavo::cli {

enum class Errors { shown, dropped };

/// The exit code where there is no python3, or it cannot be started.
inline constexpr int kNoPython = 127;

/// Runs python3 with `words` as its arguments and `input` on its standard input.
///
/// The working folder may be a model's, which may hold modules and programs by any name. So python3
/// is OCTAVO_PYTHON, or looked for in the folders of PATH that are absolute, and runs in an empty
/// folder of its own: what `-c`, `-m` and relative entries of PYTHONPATH put on sys.path is that
/// folder. Paths in `words` are absolute therefore.
///
/// Returns: its exit code, or kNoPython. Throws: Error.
int run_python(std::vector<std::string> words, std::string_view input, Errors errors);

/// What it printed, and its exit code.
struct PythonAnswer {
  int exit_code;
  std::string output;
};

/// The same without input, its standard output read.
PythonAnswer ask_python(std::vector<std::string> words, Errors errors);

}  // namespace octavo::cli
