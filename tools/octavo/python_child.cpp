// SPDX-License-Identifier: Apache-2.0
#include "python_child.hpp"

#include <fcntl.h>
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
      throw Error(Status(Code::io, "python3: a temporary folder must be had; got none"));
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

struct Pipe {
  std::array<int, 2> ends{-1, -1};  ///< to read from, to write to

  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw Error(Status(Code::io, "python3: a pipe must be had; got none"));
    }
  }
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  void close(std::size_t end) noexcept {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

/// Starts it on one end of a pipe, which is its standard input or output; the other stays ours.
/// 0: it cannot be started.
pid_t start(const std::string& program, std::vector<std::string> words, const char* folder,
            Errors errors, const Pipe& pipe, int its) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe.ends[static_cast<std::size_t>(its)], its);
  if (its != STDIN_FILENO) {
    ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  }
  if (errors == Errors::dropped) {
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  }
  ::posix_spawn_file_actions_addchdir_np(&actions, folder);
  words.insert(words.begin(), program);
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t id = 0;
  if (::posix_spawn(&id, program.c_str(), &actions, nullptr, arguments.data(), environ) != 0) {
    id = 0;
  }
  ::posix_spawn_file_actions_destroy(&actions);
  return id;
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

std::string read_all(int output) {
  std::string text;
  std::array<char, 4096> part{};
  for (ssize_t count; (count = ::read(output, part.data(), part.size())) > 0;) {
    text.append(part.data(), static_cast<std::size_t>(count));
  }
  return text;
}

int exit_code_of(pid_t id) {
  int status = 0;
  if (id == 0 || ::waitpid(id, &status, 0) != id) return kNoPython;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

int run_python(std::vector<std::string> words, std::string_view input, Errors errors) {
  const std::string program = find_python();
  if (program.empty()) return kNoPython;
  const EmptyFolder folder;
  Pipe pipe;
  const pid_t id = start(program, std::move(words), folder.path(), errors, pipe, STDIN_FILENO);
  pipe.close(0);
  if (id != 0) feed(pipe.ends[1], input);
  pipe.close(1);
  return exit_code_of(id);
}

PythonAnswer ask_python(std::vector<std::string> words, Errors errors) {
  const std::string program = find_python();
  if (program.empty()) return {kNoPython, {}};
  const EmptyFolder folder;
  Pipe pipe;
  const pid_t id = start(program, std::move(words), folder.path(), errors, pipe, STDOUT_FILENO);
  pipe.close(1);
  std::string output = id != 0 ? read_all(pipe.ends[0]) : std::string();
  return {exit_code_of(id), std::move(output)};
}

}  // namespace octavo::cli
