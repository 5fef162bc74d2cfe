// SPDX-License-Identifier: Apache-2.0
// Signal handlers: nothing but unlink, signal and raise, which may be called there.
#include "interruption.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>

namespace octavo::cli {
namespace {

constexpr std::array<int, 5> kSignals{SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU};

// Written while it is not armed only, by one thread: any other may take the signal meanwhile. A
// longer path is no file's.
std::array<char, 4097> temporary{};
std::atomic<bool> armed{false};
static_assert(std::atomic<bool>::is_always_lock_free);
std::array<struct sigaction, kSignals.size() + 1> replaced;

extern "C" void remove_and_end(int number) {
  if (armed) ::unlink(temporary.data());
  ::signal(number, SIG_DFL);
  ::raise(number);  // takes effect when this handler returns
}

sigset_t all_of_them() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kSignals) sigaddset(&set, number);
  return set;
}

}  // namespace

Interruption::Interruption() {
  struct sigaction action {};
  action.sa_handler = &remove_and_end;
  action.sa_mask = all_of_them();
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], nullptr, &replaced[i]);
    if (replaced[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &action, nullptr);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &replaced.back());
}

Interruption::~Interruption() {
  set_temporary("");
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &replaced[i], nullptr);
  ::sigaction(SIGXFSZ, &replaced.back(), nullptr);
}

void Interruption::set_temporary(const std::string& path) {
  armed = false;
  const std::size_t size = std::min(path.size(), temporary.size() - 1);
  std::copy_n(path.begin(), size, temporary.begin());
  temporary[size] = '\0';
  armed = size > 0;
}

}  // namespace octavo::cli
