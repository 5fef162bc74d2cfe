// SPDX-License-Identifier: Apache-2.0
// Printing.
#include "output.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace octavo::cli {

std::string json_text(const Json& object) {
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void print_json(const Json& object) { fmt::print("{}\n", json_text(object)); }

void put_error(std::string_view text) noexcept {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

void warn(std::string_view sentence) {
  put_error(fmt::format("octavo: warning: {}\n", printable(sentence)));
}

std::string size_text(std::int64_t bytes) {
  constexpr std::array<const char*, 5> kUnits{"B", "KiB", "MiB", "GiB", "TiB"};
  constexpr double kStep = 1024.0;
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= kStep && unit + 1 < kUnits.size()) {
    value /= kStep;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.2f} {}", value, kUnits[unit]);
}

std::string db_text(double db) {
  return std::isinf(db) && db > 0 ? "exact" : fmt::format("{:.2f}", db);
}

std::string count_text(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string shape_text(std::span<const std::int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

std::string grid_text(const ScaleGrid& grid) {
  const bool all_rows = grid.rows == kWholeExtent, all_columns = grid.cols == kWholeExtent;
  if (all_rows && all_columns) return "tensor";
  if (grid.rows == 1 && all_columns) return "channel";
  if (grid.rows == 1) return fmt::format("group{}", grid.cols);
  return fmt::format("block{}x{}", grid.rows, grid.cols);
}

std::string printable(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

void Table::print() const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t width = columns_[i].title.size();
    for (const auto& row : rows_) width = std::max(width, row[i].size());
    widths.push_back(width);
  }
  const auto line = [&](const auto& cell) {
    std::string text;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      text += columns_[i].number ? fmt::format("{:>{}}  ", cell(i), widths[i])
                                 : fmt::format("{:<{}}  ", cell(i), widths[i]);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    fmt::print("{}\n", text);
  };
  line([&](std::size_t i) -> const std::string& { return columns_[i].title; });
  for (const auto& row : rows_) {
    line([&](std::size_t i) -> const std::string& { return row[i]; });
  }
}

}  // namespace octavo::cli
