// SPDX-License-Identifier: Apache-2.0
#include "python_child.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "octavo/status.hpp"

namespace octavo::cli {
namespace {

namespace fs = std::filesystem;

/// An empty folder that nobody else can write into, for as long as this object lives.
class EmptyFolder {
 public:
  EmptyFolder() {
    std::error_code none;
    path_ = fs::absolute(fs::temp_directory_path(none) / "octavo-XXXXXX").string();
    if (none || ::mkdtemp(path_.data()) == nullptr) {
      throw Error(Status(Code::io, "report: a temporary folder must be had; got none"));
    }
  }
  ~EmptyFolder() { ::rmdir(path_.c_str()); }
  EmptyFolder(const EmptyFolder&) = delete;
  EmptyFolder& operator=(const EmptyFolder&) = delete;

  const char* path() const noexcept { return path_.c_str(); }

 private:
  std::string path_;
};

/// OCTAVO_PYTHON, or the python3 of PATH, whose relative and empty entries mean the working folder;
/// empty: none.
std::string find_python() {
  const char* named = std::getenv("OCTAVO_PYTHON");  // NOLINT(concurrency-mt-unsafe)
  if (named != nullptr && fs::path(named).is_absolute()) return named;
  const char* given = std::getenv("PATH");  // NOLINT(concurrency-mt-unsafe)
  std::string_view rest = given == nullptr ? "/usr/bin:/bin" : given;
  while (!rest.empty()) {
    const std::string_view entry = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(rest.size(), entry.size() + 1));
    const fs::path program = fs::path(entry) / "python3";
    std::error_code ignored;
    if (program.is_absolute() && fs::is_regular_file(program, ignored) &&
        ::access(program.c_str(), X_OK) == 0) {
      return program.string();
    }
  }
  return {};
}

/// A child, running; its standard input is the pipe's end that the caller writes into.
struct Child {
  pid_t id = 0;
  int input = -1;
};

Child start(const std::string& program, std::vector<std::string> words, const char* folder,
            Errors errors) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    throw Error(Status(Code::io, "report: a pipe must be had; got none"));
  }
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  ::posix_spawn_file_actions_addclose(&actions, ends[1]);
  if (errors == Errors::dropped) {
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", 1, 0);
  }
  ::posix_spawn_file_actions_addchdir_np(&actions, folder);
  words.insert(words.begin(), program);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  Child child{0, ends[1]};
  if (::posix_spawn(&child.id, program.c_str(), &actions, nullptr, arguments.data(), environ) !=
      0) {
    child.id = 0;
  }
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(ends[0]);
  return child;
}

/// Who ends before it has read everything says so by its exit code.
void feed(int input, std::string_view text) {
  auto* const before = std::signal(SIGPIPE, SIG_IGN);
  while (!text.empty()) {
    const ssize_t written = ::write(input, text.data(), text.size());
    if (written <= 0) break;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  std::signal(SIGPIPE, before);
}

}  // namespace

int run_python(std::vector<std::string> words, std::string_view input, Errors errors) {
  constexpr int kNotStarted = 127;
  const std::string program = find_python();
  if (program.empty()) return kNotStarted;
  const EmptyFolder folder;
  const Child child = start(program, std::move(words), folder.path(), errors);
  if (child.id != 0) feed(child.input, input);
  ::close(child.input);
  int status = 0;
  if (child.id == 0 || ::waitpid(child.id, &status, 0) != child.id) return kNotStarted;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace octavo::cli
