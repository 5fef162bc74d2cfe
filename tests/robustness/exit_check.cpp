// SPDX-License-Identifier: Apache-2.0
// A process that ends while its threads multiply ends by its own status: it starts itself, each way
// some times.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "octavo/octavo.hpp"

namespace {

constexpr int kStatus = 7, kThreads = 3, kRuns = 10;
constexpr unsigned kSeconds = 60;

/// Starts threads that multiply for ever, each after a product.
void multiply_for_ever() {
  // Of those that nobody destroys.
  static const auto& a = *new octavo::Tensor(octavo::Tensor::empty(octavo::DType::int8, {64, 512}));
  static const auto& b =
      *new octavo::Tensor(octavo::Tensor::empty(octavo::DType::int8, {512, 512}));
  static std::atomic<int> started{0};
  for (int i = 0; i < kThreads; ++i) {
    std::thread([] {
      for (;;) {
        (void)octavo::scaled_mm(a, b, {.out_dtype = octavo::DType::int32});
        ++started;
      }
    }).detach();
  }
  while (started < kThreads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

int child(std::string_view way) {
  ::alarm(kSeconds);
  multiply_for_ever();
  if (way == "exit") std::exit(kStatus);
  if (way == "quick_exit") std::quick_exit(kStatus);
  if (way == "_exit") ::_exit(kStatus);
  return kStatus;  // from main
}

bool ends_well(const char* program, const char* way) {
  std::string self(program), word(way);
  std::vector<char*> words{self.data(), word.data(), nullptr};
  pid_t pid = 0;
  int status = 0;
  if (::posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, words.data(), environ) != 0)
    return false;
  ::waitpid(pid, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kStatus) return true;
  std::fprintf(stderr, "%s: status %d, signal %d\n", way, WEXITSTATUS(status), WTERMSIG(status));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) return child(argv[1]);
  bool good = true;
  for (const char* way : {"return", "exit", "quick_exit", "_exit"}) {
    for (int run = 0; run < kRuns; ++run) good = ends_well(argv[0], way) && good;
  }
  return good ? 0 : 1;
}
