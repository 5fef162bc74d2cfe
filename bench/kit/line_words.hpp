// SPDX-License-Identifier: Apache-2.0
// What the lines of operations beside products have in common: "operation types words... shape".
#pragma once

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>

namespace octavo::kit {

/// One word of a line: how it is spelled, what its value must be, and what it does.
template <class Line>
struct LineWord {
  std::string_view key;
  const char* rule;
  bool (*read)(std::string_view value, Line& line);
};

/// Reads "key" or "key=value"; `refuse(rule, text)` throws.
template <class Line, std::size_t N, class Refuse>
void read_word(const LineWord<Line> (&words)[N], std::string_view text, Line& line,
               const Refuse& refuse) {
  const std::size_t equals = std::min(text.find('='), text.size());
  const std::string_view value = text.substr(std::min(equals + 1, text.size()));
  std::string known;
  for (const LineWord<Line>& word : words) {
    known += (known.empty() ? "" : ", ") + std::string(word.key);
    if (word.key != text.substr(0, equals)) continue;
    if (word.read(value, line)) return;
    refuse(std::string(word.key) + " must " + word.rule, text);
  }
  refuse("words must be among " + known, text);
}

/// The whole text as a number.
template <class T>
bool read_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

/// Does a line begin with that operation?
inline bool names_operation(std::string_view line, std::string_view operation) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  return line.substr(0, line.find_first_of(" \t")) == operation;
}

}  // namespace octavo::kit
