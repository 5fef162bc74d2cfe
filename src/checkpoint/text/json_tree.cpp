// SPDX-License-Identifier: Apache-2.0
// Events of the parser become values, one after the other.
#include "checkpoint/text/json_tree.hpp"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace octavo::checkpoint {

// The interface that nlohmann's parser calls; false ends the parsing.
class JsonTreeReader {
 public:
  using Kind = JsonTree::Kind;
  using Problem = JsonTree::Problem;

  JsonTreeReader(JsonTree& tree, const JsonTree::Limits& limits) : tree_(tree), limits_(limits) {}
  Problem problem() const noexcept { return problem_; }

  bool null() { return put(Kind::null, "null"); }
  bool boolean(bool value) { return put(Kind::boolean, value ? "true" : "false"); }
  bool number_integer(std::int64_t value) { return put(Kind::integer, std::to_string(value)); }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return put(fits ? Kind::integer : Kind::number, std::to_string(value));
  }
  bool number_float(double, const std::string& spelling) { return put(Kind::number, spelling); }
  bool string(const std::string& value) { return put(Kind::text, value); }
  bool binary(const nlohmann::json::binary_t&) { return false; }

  bool start_object(std::size_t) { return open(Kind::object, "{...}"); }
  bool start_array(std::size_t) { return open(Kind::array, "[...]"); }
  bool key(const std::string& key) {
    if (key.size() > limits_.key_bytes) return stop(Problem::long_key);
    key_ = store(key);
    return true;
  }
  bool end_object() { return close() && (!has_twins() || stop(Problem::twin_keys)); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) {
    return stop(Problem::malformed);
  }

 private:
  bool stop(Problem problem) noexcept {
    problem_ = problem;
    return false;
  }
  JsonTree::Stretch store(std::string_view characters) {
    const auto begin = static_cast<std::uint32_t>(tree_.characters_.size());
    tree_.characters_ += characters;
    return {begin, static_cast<std::uint32_t>(characters.size())};
  }
  bool put(Kind kind, std::string_view text) {
    if (tree_.nodes_.size() == limits_.values) return stop(Problem::too_many);
    const auto next = static_cast<std::uint32_t>(tree_.nodes_.size() + 1);
    tree_.nodes_.push_back({key_, store(text), next, kind});
    key_ = {};
    return true;
  }
  bool open(Kind kind, std::string_view text) {
    if (open_.size() == limits_.levels) return stop(Problem::too_deep);
    open_.push_back(static_cast<std::uint32_t>(tree_.nodes_.size()));
    return put(kind, text);
  }
  bool close() {
    closed_ = open_.back();
    tree_.nodes_[closed_].end = static_cast<std::uint32_t>(tree_.nodes_.size());
    open_.pop_back();
    return true;
  }
  // Whether the object that has just been closed has a key twice.
  bool has_twins() {
    std::vector<std::string_view> keys;
    for (const JsonValue value : JsonValue(tree_, closed_).items()) keys.push_back(value.key());
    std::ranges::sort(keys);
    return std::ranges::adjacent_find(keys) != keys.end();
  }

  JsonTree& tree_;
  const JsonTree::Limits& limits_;
  Problem problem_ = Problem::malformed;
  JsonTree::Stretch key_;            ///< of the next value
  std::vector<std::uint32_t> open_;  ///< arrays and objects, the innermost last
  std::uint32_t closed_ = 0;
};

JsonTree::Problem JsonTree::parse(const std::string& text, const Limits& limits) {
  if (text.size() > limits.bytes) return Problem::too_long;
  JsonTreeReader reader(*this, limits);
  if (nlohmann::json::sax_parse(text, &reader)) return Problem::none;
  return reader.problem();
}

namespace {

bool has_kind(const auto* node, JsonTree::Kind kind) noexcept {
  return node != nullptr && node->kind == kind;
}

template <class Number>
Number number_of(std::string_view spelling) noexcept {
  Number value = 0;
  std::from_chars(spelling.data(), spelling.data() + spelling.size(), value);
  return value;
}

}  // namespace

bool JsonValue::is_null() const noexcept {
  const auto* node = tree_->find(node_);
  return node == nullptr || node->kind == JsonTree::Kind::null;
}
bool JsonValue::is_array() const noexcept {
  return has_kind(tree_->find(node_), JsonTree::Kind::array);
}
bool JsonValue::is_object() const noexcept {
  return has_kind(tree_->find(node_), JsonTree::Kind::object);
}
bool JsonValue::is_text() const noexcept {
  return has_kind(tree_->find(node_), JsonTree::Kind::text);
}
bool JsonValue::is_integer() const noexcept {
  return has_kind(tree_->find(node_), JsonTree::Kind::integer);
}
bool JsonValue::is_number() const noexcept {
  return is_integer() || has_kind(tree_->find(node_), JsonTree::Kind::number);
}
bool JsonValue::is(bool value) const noexcept {
  return has_kind(tree_->find(node_), JsonTree::Kind::boolean) &&
         spelled() == (value ? "true" : "false");
}

std::string_view JsonValue::text() const noexcept {
  return is_text() ? spelled() : std::string_view();
}
double JsonValue::number() const noexcept {
  return is_number() ? number_of<double>(spelled()) : 0.0;
}
std::int64_t JsonValue::integer() const noexcept {
  return is_integer() ? number_of<std::int64_t>(spelled()) : 0;
}

std::string_view JsonValue::spelled() const noexcept {
  const auto* node = tree_->find(node_);
  return node == nullptr ? "null" : tree_->at(node->text);
}

std::string_view JsonValue::key() const noexcept {
  const auto* node = tree_->find(node_);
  return node == nullptr ? std::string_view() : tree_->at(node->key);
}

JsonValue JsonValue::operator[](std::string_view key) const noexcept {
  if (is_object()) {
    for (const JsonValue value : items()) {
      if (value.key() == key) return value;
    }
  }
  return {*tree_, kAbsent};
}

JsonItems JsonValue::items() const noexcept {
  const auto* node = tree_->find(node_);
  return node == nullptr ? JsonItems(*tree_, 0, 0) : JsonItems(*tree_, node_ + 1, node->end);
}

}  // namespace octavo::checkpoint
