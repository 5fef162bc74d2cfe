// SPDX-License-Identifier: Apache-2.0
#include "progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "output.hpp"

namespace octavo::cli {
namespace {

std::string remaining_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(seconds + 0.5);
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{}:{:02d} min", whole / 60, whole % 60);
  return fmt::format("{}:{:02d} h", whole / 3600, whole / 60 % 60);
}

}  // namespace

Progress::Progress(std::string_view mode)
    : mode_(mode == "json"                                   ? Mode::json
            : mode == "auto" && ::isatty(STDERR_FILENO) != 0 ? Mode::bar
                                                             : Mode::none) {}

void Progress::clear() {
  if (mode_ == Mode::bar && percent_ >= 0) put_error("\r\x1B[K");
  percent_ = -1;
}

void Progress::update(std::int64_t done, std::int64_t total) {
  constexpr std::size_t kWidth = 24;
  constexpr std::size_t kLongestName = 36;
  constexpr std::chrono::milliseconds kPause{100};  // between two updates of a bar
  if (mode_ == Mode::none) return;
  const auto percent = static_cast<int>(
      total > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(total) : 100.0);
  const Clock::time_point now = Clock::now();
  const bool due = mode_ == Mode::json ? percent != percent_ : now - shown_ >= kPause;
  if (!due && done < total) return;
  percent_ = percent;
  shown_ = now;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0.0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0.0;
  if (mode_ == Mode::json) {
    const Json line = {{"type", "progress"},       {"done", done},
                       {"total", total},           {"tensor", name_},
                       {"bytes_per_second", rate}, {"seconds_left", left}};
    put_error(json_text(line) + "\n");
    return;
  }
  const std::size_t full = kWidth * static_cast<std::size_t>(percent) / 100;
  std::string name = printable(name_);
  if (name.size() > kLongestName) name = "..." + name.substr(name.size() - kLongestName + 3);
  const std::string text =
      fmt::format("\r[{}{}] {:3d}%  {} of {}, {}/s, {} left  {}\x1B[K", std::string(full, '#'),
                  std::string(kWidth - full, '.'), percent, size_text(done), size_text(total),
                  size_text(static_cast<std::int64_t>(rate)), remaining_text(left), name);
  put_error(text);
}

}  // namespace octavo::cli
