// SPDX-License-Identifier: Apache-2.0
#include "cli/cli.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

#include "octavo/checkpoint.hpp"

extern char** environ;  // NOLINT: POSIX

namespace octavo::test {

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

Cli::Cli() {
  std::string pattern = (std::filesystem::temp_directory_path() / "octavo-cli-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  folder_ = pattern;
}
Cli::~Cli() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

Outcome Cli::octavo(std::vector<std::string> arguments, const std::string& stdout_path) const {
  const std::string out = stdout_path.empty() ? path("stdout") : stdout_path;
  const std::string err = path("stderr");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC;
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), kFlags, 0600);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err.c_str(), kFlags, 0600);
  arguments.insert(arguments.begin(), "octavo");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  const int failed = ::posix_spawn(&child, OCTAVO_CLI, &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot run " OCTAVO_CLI);
  int status = 0;
  ::waitpid(child, &status, 0);
  const int exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return {exit, stdout_path.empty() ? slurp(out) : std::string(), slurp(err)};
}

void Cli::expect_failure(int exit, const std::string& fragment,
                         const std::vector<std::string>& arguments) const {
  const Outcome got = octavo(arguments);
  EXPECT_EQ(exit, got.exit) << got.err;
  EXPECT_NE(std::string::npos, got.err.find(fragment)) << got.err;
  EXPECT_TRUE(got.err.starts_with("octavo: ")) << got.err;
  EXPECT_EQ(1, std::count(got.err.begin(), got.err.end(), '\n')) << got.err;
  EXPECT_TRUE(got.err.ends_with('\n')) << got.err;
}

std::vector<json> Cli::lines(const std::string& text) {
  std::vector<json> objects;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) objects.push_back(json::parse(line));
  return objects;
}

std::vector<std::string> Cli::fields(const json& object) {
  std::vector<std::string> names;
  for (const auto& [name, value] : object.items()) names.push_back(name);
  return names;
}

std::string Cli::model() const {
  const auto floats = [](std::vector<std::int64_t> shape) {
    std::int64_t count = 1;
    for (const std::int64_t extent : shape) count *= extent;
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * sizeof(float));
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(i % 17) / 16.0F - 0.5F;
      std::memcpy(bytes.data() + static_cast<std::size_t>(i) * sizeof value, &value, sizeof value);
    }
    return [bytes] { return bytes; };
  };
  write_safetensors(path("model"),
                    {{"embed.weight", "F32", {4, 8}, floats({4, 8})},
                     {"norm.weight", "F32", {8}, floats({8})},
                     {"up.weight", "F32", {16, 8}, floats({16, 8})},
                     {"down.weight", "F32", {8, 16}, floats({8, 16})}},
                    {{"format", "pt"}});
  return path("model");
}

}  // namespace octavo::test
