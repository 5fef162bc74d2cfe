// SPDX-License-Identifier: Apache-2.0
// A small JSON document from an untrusted text: memory linear in the text, and a destruction that
// cannot fail (nlohmann's own tree allocates while it is destroyed, which would end the program
// where memory is short).
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace octavo::checkpoint {

class JsonTree;
class JsonItems;

/// A value of a document, which has to outlive it; a null value also stands for one that is not
/// there.
class JsonValue {
 public:
  static constexpr std::uint32_t kAbsent = std::numeric_limits<std::uint32_t>::max();
  JsonValue(const JsonTree& tree, std::uint32_t node) noexcept : tree_(&tree), node_(node) {}

  bool is_null() const noexcept;
  bool is_array() const noexcept;
  bool is_object() const noexcept;
  bool is_text() const noexcept;
  bool is_number() const noexcept;
  bool is_integer() const noexcept;        ///< a number without a fraction that fits into 64 bits
  bool is(bool value) const noexcept;      ///< that boolean
  std::string_view text() const noexcept;  ///< a string's content, empty for all others
  double number() const noexcept;          ///< 0 for all but numbers
  std::int64_t integer() const noexcept;   ///< 0 for all but integers
  /// The value as a sentence shows it; the inside of arrays and objects is left out.
  std::string_view spelled() const noexcept;

  /// The value under that key of an object, by a search through all of its keys.
  JsonValue operator[](std::string_view key) const noexcept;
  std::string_view key() const noexcept;  ///< under which an object holds this value
  JsonItems items() const noexcept;       ///< of an array or object, in order

 private:
  friend class JsonItems;
  const JsonTree* tree_;
  std::uint32_t node_;
};

/// A parsed document.
class JsonTree {
 public:
  enum class Kind : std::uint8_t { null, boolean, number, integer, text, array, object };
  struct Limits {
    std::size_t bytes;      ///< of the text
    std::size_t levels;     ///< of arrays and objects inside each other
    std::size_t values;     ///< in all
    std::size_t key_bytes;  ///< of a key
  };
  enum class Problem : std::uint8_t {
    none,
    malformed,
    too_long,
    too_deep,
    too_many,
    long_key,
    twin_keys  ///< an object has a key twice
  };

  /// Parses a text. Memory: at most 4 x 24 bytes for each value and 4 for each byte of the text.
  Problem parse(const std::string& text, const Limits& limits);
  JsonValue root() const noexcept { return {*this, 0}; }

 private:
  friend class JsonTreeReader;
  friend class JsonValue;
  friend class JsonItems;

  /// A stretch of `characters_`.
  struct Stretch {
    std::uint32_t begin = 0, size = 0;
  };
  /// A value; those inside it follow it, so that `end` is also its next neighbour.
  struct Node {
    Stretch key;
    Stretch text;  ///< of a string; of others as spelled in the document
    std::uint32_t end = 0;
    Kind kind = Kind::null;
  };

  std::string_view at(Stretch stretch) const noexcept {
    return std::string_view(characters_).substr(stretch.begin, stretch.size);
  }
  const Node* find(std::uint32_t node) const noexcept {
    return node < nodes_.size() ? &nodes_[node] : nullptr;
  }

  std::vector<Node> nodes_;
  std::string characters_;
};

/// The values of an array or object, for a range-based loop.
class JsonItems {
 public:
  class Iterator {
   public:
    Iterator(const JsonTree& tree, std::uint32_t node) noexcept : tree_(&tree), node_(node) {}
    JsonValue operator*() const noexcept { return {*tree_, node_}; }
    Iterator& operator++() noexcept {
      node_ = tree_->nodes_[node_].end;
      return *this;
    }
    bool operator==(const Iterator& other) const noexcept { return node_ == other.node_; }

   private:
    friend class JsonItems;
    const JsonTree* tree_;
    std::uint32_t node_;
  };

  JsonItems(const JsonTree& tree, std::uint32_t begin, std::uint32_t end) noexcept
      : begin_(tree, begin), end_(tree, end) {}
  Iterator begin() const noexcept { return begin_; }
  Iterator end() const noexcept { return end_; }

 private:
  Iterator begin_, end_;
};

}  // namespace octavo::checkpoint
