// SPDX-License-Identifier: Apache-2.0
// What the subcommands print with: sizes, shapes, tables, JSON lines.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/scale.hpp"

namespace octavo::cli {

/// JSON objects keep the order in which their fields are documented.
using Json = nlohmann::ordered_json;

/// An object on one line. Numbers that JSON lacks (infinite, NaN) become null.
std::string json_text(const Json& object);
/// The same, printed.
void print_json(const Json& object);

/// Writes to standard error. Where that is closed or full the text is lost and nothing else
/// happens: an exit code says what became of the work.
void put_error(std::string_view text) noexcept;
/// "octavo: warning: ..." on standard error, one line.
void warn(std::string_view sentence);

/// "123 B", "4.56 MiB"
std::string size_text(std::int64_t bytes);

/// "31.57"; "exact" of an SQNR of infinity.
std::string db_text(double db);

/// "1 layer", "2 layers"
std::string count_text(std::int64_t count, std::string_view noun);

/// "[4, 8]"
std::string shape_text(std::span<const std::int64_t> shape);

/// The granularity of a weight [N, K]: "tensor", "channel", "group128", "block128x128".
std::string grid_text(const ScaleGrid& grid);

/// A name from a file, without the control characters that a terminal would obey.
std::string printable(std::string_view text);

/// Columns as wide as their widest cell; numbers, that is columns named so, to the right.
class Table {
 public:
  struct Column {
    std::string title;
    bool number = false;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const noexcept { return rows_.empty(); }
  void print() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace octavo::cli
