// SPDX-License-Identifier: Apache-2.0
#include "report_page.hpp"

#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/status.hpp"

namespace octavo::cli {
namespace {

[[noreturn]] void refuse(Code code, std::string sentence) {
  throw Error(Status(code, std::move(sentence)));
}

// Runs python3 with `input` on its standard input; its exit code, 127 where it cannot be started.
int python(std::vector<std::string> words, std::string_view input, bool silent) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) refuse(Code::io, "report: a pipe must be had; got none");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  if (silent) posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
  words.insert(words.begin(), "python3");
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "python3", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[0]);
  // Who ends before it has read everything says so by its exit code.
  auto* const before = std::signal(SIGPIPE, SIG_IGN);
  while (failed == 0 && !input.empty()) {
    const ssize_t written = write(ends[1], input.data(), input.size());
    if (written <= 0) break;
    input.remove_prefix(static_cast<std::size_t>(written));
  }
  close(ends[1]);
  std::signal(SIGPIPE, before);
  int status = 0;
  if (failed != 0 || waitpid(child, &status, 0) != child) return 127;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

void require_page_maker() {
  const int exit_code = python({"-c", "from octavo.report import page"}, {}, true);
  if (exit_code == 0) return;
  refuse(
      Code::unavailable,
      fmt::format("report: --html must have python3 with the package octavo[report] (pip install "
                  "'octavo[report]'); got {}",
                  exit_code == 127 ? "no python3" : "one that cannot import it"));
}

void write_page(const Json& report, const std::string& path) {
  const int exit_code = python({"-m", "octavo.report", "-", path}, json_text(report), false);
  if (exit_code != 0)
    refuse(Code::io,
           fmt::format("report: the page '{}' must be written; got exit code {} of python3",
                       printable(path), exit_code));
}

}  // namespace octavo::cli
