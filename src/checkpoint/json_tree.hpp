// SPDX-License-Identifier: Apache-2.0
// A small JSON document whose destruction cannot fail: nlohmann's own tree allocates while it is
// destroyed, which would end the program where memory is short.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::checkpoint {

class JsonTree;

/// A value of a document; a null value also stands for one that is not there.
class JsonValue {
 public:
  JsonValue(const JsonTree& tree, std::string path) : tree_(&tree), path_(std::move(path)) {}

  bool is_null() const;
  bool is_array() const;
  bool is_object() const;
  bool is_text() const;
  bool is_number() const;
  bool is_integer() const;       ///< a number without a fraction that fits into 64 bits
  bool is(bool value) const;     ///< that boolean
  std::string text() const;      ///< a string's content, empty for all others
  double number() const;         ///< 0 for all but numbers
  std::int64_t integer() const;  ///< 0 for all but integers
  /// The value as a sentence shows it; the inside of arrays and objects is left out.
  std::string spelled() const;

  JsonValue operator[](std::string_view key) const;
  std::vector<JsonValue> items() const;  ///< of an array or object, in order

 private:
  const JsonTree* tree_;
  std::string path_;
};

/// A parsed document.
class JsonTree {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, integer, text, array, object };
  struct Entry {
    Kind kind = Kind::null;
    std::string text;  ///< of a string; of others as spelled in the document
    double number = 0;
    std::int64_t integer = 0;
    std::vector<std::string> keys;  ///< of an array (its indices) or object, in order
  };
  enum class Problem : std::uint8_t { none, malformed, too_deep };

  /// Parses a text; values may nest `deepest` levels.
  Problem parse(const std::string& text, int deepest);
  JsonValue root() const { return {*this, std::string()}; }
  const Entry* find(const std::string& path) const;

 private:
  friend class JsonTreeReader;
  std::map<std::string, Entry> entries_;  ///< by path, the keys joined by a control character
};

}  // namespace octavo::checkpoint
