// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/text/json_text.hpp"

#include <fmt/core.h>

#include <algorithm>

namespace octavo::checkpoint {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr std::size_t kDeepest = 512;

/// A text, and how far it has been read; every step says whether there was what it skips.
class Scanner {
 public:
  explicit Scanner(std::string_view text) noexcept : text_(text) {}

  std::size_t at() const noexcept { return at_; }
  std::string_view from(std::size_t begin) const noexcept {
    return text_.substr(begin, at_ - begin);
  }
  bool ended() noexcept {
    space();
    return at_ == text_.size();
  }
  bool is(char c) noexcept {
    space();
    return at_ < text_.size() && text_[at_] == c;
  }
  bool take(char c) noexcept {
    if (!is(c)) return false;
    ++at_;
    return true;
  }
  bool string() noexcept {
    if (!take('"')) return false;
    while (at_ < text_.size() && text_[at_] != '"') at_ += text_[at_] == '\\' ? 2 : 1;
    if (at_ >= text_.size()) return false;
    ++at_;
    return true;
  }
  bool value() {
    std::string open;  // the closing brackets that are due
    do {
      space();
      if (at_ == text_.size()) return false;
      const char c = text_[at_];
      if (c == '{' || c == '[') {
        if (open.size() == kDeepest) return false;
        open += c == '{' ? '}' : ']';
        ++at_;
      } else if (c == '}' || c == ']') {
        if (open.empty() || open.back() != c) return false;
        open.pop_back();
        ++at_;
      } else if (c == '"') {
        if (!string()) return false;
      } else if (c == ',' || c == ':') {
        if (open.empty()) return false;
        ++at_;
      } else {
        at_ = std::min(text_.find_first_of(",:]}[{\" \t\r\n", at_), text_.size());
      }
    } while (!open.empty());
    return true;
  }

 private:
  void space() noexcept { at_ = std::min(text_.find_first_not_of(kSpace, at_), text_.size()); }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::size_t offset(std::string_view text, std::string_view part) noexcept {
  return static_cast<std::size_t>(part.data() - text.data());
}

}  // namespace

std::optional<std::vector<JsonField>> json_fields(std::string_view text) {
  Scanner scan(text);
  std::vector<JsonField> fields;
  if (!scan.take('{')) return std::nullopt;
  while (!scan.is('}')) {
    if (!fields.empty() && !scan.take(',')) return std::nullopt;
    if (!scan.is('"')) return std::nullopt;
    const std::size_t key = scan.at() + 1;
    if (!scan.string()) return std::nullopt;
    const std::string_view name = text.substr(key, scan.at() - 1 - key);
    if (!scan.take(':') || scan.ended()) return std::nullopt;
    const std::size_t value = scan.at();
    if (!scan.value()) return std::nullopt;
    fields.push_back({name, scan.from(value)});
  }
  scan.take('}');
  if (!scan.ended()) return std::nullopt;
  return fields;
}

std::optional<std::string_view> json_field(std::string_view text, std::string_view key) {
  const auto fields = json_fields(text);
  if (!fields) return std::nullopt;
  const auto found = std::find_if(fields->rbegin(), fields->rend(),
                                  [&](const JsonField& field) { return field.key == key; });
  return found == fields->rend() ? std::nullopt : std::optional(found->value);
}

std::string with_json_field(std::string_view text, std::string_view key, std::string_view value) {
  std::string result(text);
  if (const auto old = json_field(text, key)) {
    return result.replace(offset(text, *old), old->size(), value);
  }
  const auto fields = json_fields(text);
  const bool first = !fields || fields->empty();
  const std::size_t at =
      first ? text.find('{') + 1 : offset(text, fields->back().value) + fields->back().value.size();
  const std::string_view end = text.find('\n', at) == std::string_view::npos ? "\n" : "";
  return fmt::format("{}{}\n  \"{}\": {}{}{}", text.substr(0, at), first ? "" : ",", key, value,
                     end, text.substr(at));
}

std::string without_json_field(std::string_view text, std::string_view key) {
  std::string result(text);
  const auto fields = json_fields(text);
  if (!fields) return result;
  for (std::size_t i = fields->size(); i-- > 0;) {
    const JsonField& field = (*fields)[i];
    if (field.key != key) continue;
    const auto end_of = [&](const JsonField& f) { return offset(text, f.value) + f.value.size(); };
    const std::size_t begin = i > 0 ? end_of((*fields)[i - 1]) : offset(text, field.key) - 1;
    const std::size_t end =
        i > 0 || fields->size() == 1 ? end_of(field) : offset(text, (*fields)[1].key) - 1;
    result.erase(begin, end - begin);
    return result;
  }
  return result;
}

std::string indented_json(std::string_view value, std::size_t levels) {
  std::string result;
  bool quoted = false;
  const auto line = [&] { result.append("\n").append(2 * levels, ' '); };
  for (std::size_t i = 0; i < value.size(); ++i) {
    const char c = value[i];
    if (quoted) {
      result += c;
      if (c == '\\' && i + 1 < value.size()) result += value[++i];
      quoted = c != '"';
      continue;
    }
    if (kSpace.find(c) != std::string_view::npos) continue;
    if (c == '}' || c == ']') {
      --levels;
      if (result.back() != '{' && result.back() != '[') line();
    } else if (!result.empty() && (result.back() == '{' || result.back() == '[')) {
      line();
    }
    result += c;
    if (c == '{' || c == '[') ++levels;
    if (c == ',') line();
    if (c == ':') result += ' ';
    quoted = c == '"';
  }
  return result;
}

}  // namespace octavo::checkpoint
