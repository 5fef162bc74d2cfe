// SPDX-License-Identifier: Apache-2.0
// The grammar of lines of operations beside products: "operation type:type words... size x size".
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "octavo/dtype.hpp"
#include "octavo/status.hpp"

namespace octavo::kit {

/// One word of a line: how it is spelled, what its value must be, and what it does.
template <class Line>
struct LineWord {
  std::string_view key;
  const char* rule;
  bool (*read)(std::string_view value, Line& line);
};

/// What the lines of an operation are made of, in order, and a sentence for each part that is not
/// right. Words stand in any order.
template <class Line>
struct LineGrammar {
  std::string_view operation;
  std::size_t fewest_words;
  const char* parts;
  std::span<DType Line::*const> types;
  const char* types_rule;
  const char* (*wrong_types)(const Line& line);  ///< a rule that known types break; null: they fit
  std::span<const LineWord<Line>> words;
  std::span<std::int64_t Line::*const> sizes;
  const char* sizes_rule;
  const char* (*broken)(
      const Line& line);  ///< a rule that all words together break; null: they fit
};

/// A grammar for people: its sentences, and each word with what it must be.
struct LineHelp {
  const char* parts;
  const char* types;
  const char* sizes;
  std::vector<std::pair<std::string_view, std::string_view>> words;
};
template <class Line>
LineHelp help_of(const LineGrammar<Line>& grammar) {
  LineHelp help{grammar.parts, grammar.types_rule, grammar.sizes_rule, {}};
  for (const LineWord<Line>& word : grammar.words) help.words.emplace_back(word.key, word.rule);
  return help;
}

/// The whole text as a number.
template <class T>
bool read_number(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

/// Calls read(part, place) for the parts between `at`; false where they are not as many as places.
template <class Places, class Read>
bool read_parts(std::string_view text, char at, const Places& places, const Read& read) {
  for (std::size_t i = 0; i < places.size(); ++i) {
    const bool last = i + 1 == places.size();
    const std::size_t end = last ? text.size() : text.find(at);
    if (end == std::string_view::npos || !read(text.substr(0, end), places[i])) return false;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return true;
}

/// Reads a line. Throws Error (invalid_argument) naming the word that is wrong and what would be
/// right.
template <class Line>
Line parse_line(const LineGrammar<Line>& grammar, std::string_view text) {
  const auto refuse = [&](const std::string& rule, std::string_view got) {
    throw Error(Status(Code::invalid_argument, std::string(grammar.operation) + " line: " + rule +
                                                   "; got '" + std::string(got) + "'"));
  };
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  if (words.size() < grammar.fewest_words || words.front() != grammar.operation) {
    refuse(grammar.parts, text);
  }
  Line line;
  const auto read_type = [&](std::string_view name, DType Line::*type) {
    line.*type = dtype_from_name(name);
    return line.*type != DType::undefined;
  };
  if (!read_parts(words[1], ':', grammar.types, read_type)) refuse(grammar.types_rule, words[1]);
  if (const char* rule = grammar.wrong_types(line)) refuse(rule, words[1]);
  std::string known;
  for (const LineWord<Line>& row : grammar.words) {
    known += (known.empty() ? "" : ", ") + std::string(row.key);
  }
  for (const std::string& word : std::span(words).subspan(2, words.size() - 3)) {
    const std::string key = word.substr(0, word.find('='));
    const auto row = std::ranges::find(grammar.words, key, &LineWord<Line>::key);
    if (row == grammar.words.end()) refuse("words must be among " + known, word);
    if (!row->read(std::string_view(word).substr(std::min(key.size() + 1, word.size())), line)) {
      refuse(key + " must " + row->rule, word);
    }
  }
  if (const char* rule = grammar.broken(line)) refuse(rule, text);
  const auto read_size = [&](std::string_view number, std::int64_t Line::*size) {
    return read_number(number, line.*size) && line.*size >= 1;
  };
  if (!read_parts(words.back(), 'x', grammar.sizes, read_size)) {
    refuse(grammar.sizes_rule, words.back());
  }
  return line;
}

/// The canonical spelling, around that of the words, each with a blank before it.
template <class Line>
std::string spell_line(const LineGrammar<Line>& grammar, const Line& line, std::string words) {
  std::string text(grammar.operation);
  char before = ' ';
  for (const auto type : grammar.types) {
    text += before + std::string(info(line.*type).short_name);
    before = ':';
  }
  text += words;
  if (line.seed != 1) text += " seed=" + std::to_string(line.seed);
  before = ' ';
  for (const auto size : grammar.sizes) {
    text += before + std::to_string(line.*size);
    before = 'x';
  }
  return text;
}

}  // namespace octavo::kit
