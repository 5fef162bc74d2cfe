// SPDX-License-Identifier: Apache-2.0
// How far a command is, on standard error.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace octavo::cli {

/// A bar with rate, time left and the tensor at hand, or a JSON line for each step of a hundredth.
class Progress {
 public:
  /// "auto": a bar where standard error is a terminal, else nothing; "never"; "json".
  explicit Progress(std::string_view mode);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { clear(); }

  /// The tensor that is at hand.
  void at(std::string_view name) { name_ = name; }
  void update(std::int64_t done, std::int64_t total);
  /// Leaves a clean line behind; the destructor does it, too.
  void clear();

 private:
  enum class Mode : std::uint8_t { none, bar, json };
  using Clock = std::chrono::steady_clock;

  Mode mode_;
  std::string name_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point shown_{};
  int percent_ = -1;
};

}  // namespace octavo::cli
