// SPDX-License-Identifier: Apache-2.0
// Events of the parser become entries by path.
#include "checkpoint/json_tree.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

namespace octavo::checkpoint {
namespace {

constexpr char kSeparator = '\x1f';

std::string joined(const std::string& path, std::string_view key) {
  std::string longer = path;
  longer += kSeparator;
  longer += key;
  return longer;
}

}  // namespace

// The interface that nlohmann's parser calls; false ends the parsing.
class JsonTreeReader {
 public:
  using Kind = JsonTree::Kind;

  JsonTreeReader(JsonTree& tree, int deepest) : tree_(tree), deepest_(deepest) {}
  bool too_deep() const { return too_deep_; }

  bool null() { return put({Kind::null, "null", 0, 0, {}}); }
  bool boolean(bool value) { return put({Kind::boolean, value ? "true" : "false", 0, 0, {}}); }
  bool number_integer(std::int64_t value) {
    return put({Kind::integer, std::to_string(value), static_cast<double>(value), value, {}});
  }
  bool number_unsigned(std::uint64_t value) {
    const bool fits = value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return put({fits ? Kind::integer : Kind::number,
                std::to_string(value),
                static_cast<double>(value),
                fits ? static_cast<std::int64_t>(value) : 0,
                {}});
  }
  bool number_float(double value, const std::string& spelling) {
    return put({Kind::number, spelling, value, 0, {}});
  }
  bool string(const std::string& value) { return put({Kind::text, value, 0, 0, {}}); }
  bool binary(const nlohmann::json::binary_t&) { return false; }

  bool start_object(std::size_t) { return open({Kind::object, "{...}", 0, 0, {}}); }
  bool start_array(std::size_t) { return open({Kind::array, "[...]", 0, 0, {}}); }
  bool key(const std::string& key) {
    key_ = key;
    return true;
  }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) {
    return false;
  }

 private:
  // Stores a value under the open array or object, or as the document; returns its path.
  std::string place(JsonTree::Entry entry) {
    std::string path;
    if (!open_.empty()) {
      JsonTree::Entry& parent = tree_.entries_[open_.back()];
      const std::string key =
          parent.kind == Kind::array ? std::to_string(parent.keys.size()) : key_;
      parent.keys.push_back(key);
      path = joined(open_.back(), key);
    }
    tree_.entries_[path] = std::move(entry);
    return path;
  }
  bool put(JsonTree::Entry entry) {
    place(std::move(entry));
    return true;
  }
  bool open(JsonTree::Entry entry) {
    too_deep_ = open_.size() >= static_cast<std::size_t>(deepest_);
    if (too_deep_) return false;
    open_.push_back(place(std::move(entry)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }

  JsonTree& tree_;
  int deepest_;
  bool too_deep_ = false;
  std::string key_;
  std::vector<std::string> open_;
};

JsonTree::Problem JsonTree::parse(const std::string& text, int deepest) {
  JsonTreeReader reader(*this, deepest);
  if (nlohmann::json::sax_parse(text, &reader)) return Problem::none;
  return reader.too_deep() ? Problem::too_deep : Problem::malformed;
}

const JsonTree::Entry* JsonTree::find(const std::string& path) const {
  const auto found = entries_.find(path);
  return found == entries_.end() ? nullptr : &found->second;
}

namespace {

bool has_kind(const JsonTree::Entry* entry, JsonTree::Kind kind) {
  return entry != nullptr && entry->kind == kind;
}

}  // namespace

bool JsonValue::is_null() const {
  const JsonTree::Entry* entry = tree_->find(path_);
  return entry == nullptr || entry->kind == JsonTree::Kind::null;
}
bool JsonValue::is_array() const { return has_kind(tree_->find(path_), JsonTree::Kind::array); }
bool JsonValue::is_object() const { return has_kind(tree_->find(path_), JsonTree::Kind::object); }
bool JsonValue::is_text() const { return has_kind(tree_->find(path_), JsonTree::Kind::text); }
bool JsonValue::is_integer() const { return has_kind(tree_->find(path_), JsonTree::Kind::integer); }
bool JsonValue::is_number() const {
  return is_integer() || has_kind(tree_->find(path_), JsonTree::Kind::number);
}
bool JsonValue::is(bool value) const {
  const JsonTree::Entry* entry = tree_->find(path_);
  return has_kind(entry, JsonTree::Kind::boolean) && entry->text == (value ? "true" : "false");
}

std::string JsonValue::text() const { return is_text() ? tree_->find(path_)->text : std::string(); }
double JsonValue::number() const { return is_number() ? tree_->find(path_)->number : 0.0; }
std::int64_t JsonValue::integer() const { return is_integer() ? tree_->find(path_)->integer : 0; }

std::string JsonValue::spelled() const {
  const JsonTree::Entry* entry = tree_->find(path_);
  return entry == nullptr ? "null" : entry->text;
}

JsonValue JsonValue::operator[](std::string_view key) const { return {*tree_, joined(path_, key)}; }

std::vector<JsonValue> JsonValue::items() const {
  std::vector<JsonValue> values;
  const JsonTree::Entry* entry = tree_->find(path_);
  if (entry == nullptr) return values;
  for (const std::string& key : entry->keys) values.push_back((*this)[key]);
  return values;
}

}  // namespace octavo::checkpoint
