// SPDX-License-Identifier: Apache-2.0
// The built program as a child process: what it prints, its exit code, files it reads and writes.
#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace octavo::test {

using nlohmann::json;

struct Outcome {
  int exit;
  std::string out, err;
};

std::string slurp(const std::filesystem::path& path);

/// A folder of its own for each test.
class Cli : public ::testing::Test {
 protected:
  Cli();
  ~Cli() override;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  /// Runs the program without a shell; `stdout_path` empty: captured.
  Outcome octavo(std::vector<std::string> arguments, const std::string& stdout_path = {}) const;

  /// One sentence that has `fragment`, and the exit code.
  void expect_failure(int exit, const std::string& fragment,
                      const std::vector<std::string>& arguments) const;

  /// The objects of an output with one on each line.
  static std::vector<json> lines(const std::string& text);

  static std::vector<std::string> fields(const json& object);

  /// Two linear layers, a norm and an embedding.
  std::string model() const;

 private:
  std::filesystem::path folder_;
};

}  // namespace octavo::test
