// SPDX-License-Identifier: Apache-2.0
// The header's JSON, read event by event: a document tree would keep one of two equal keys in
// silence, and would be built whole before the first error is seen.
#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/safetensors/header.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

enum class Kind : std::uint8_t { object, array, text, integer, other };

/// What the next value of the header must be.
enum class Expect : std::uint8_t {
  header,
  entry,
  metadata_text,
  dtype,
  shape,
  offsets,
  dimension,
  offset,
  anything,  ///< a field that the format does not define
};

struct Expectation {
  Kind kind;
  const char* property;  ///< of the tensor at hand; empty for the header itself
  const char* rule;
};

/// One row per Expect, in its order.
constexpr std::array<Expectation, 9> kExpectations{{
    {Kind::object, "", "be a JSON object"},
    {Kind::object, "", "be a JSON object"},
    {Kind::text, "", "hold strings only"},
    {Kind::text, ".dtype", "be a string"},
    {Kind::array, ".shape", "be an array"},
    {Kind::array, ".data_offsets", "be an array"},
    {Kind::integer, ".shape", "hold integers from 0 to 2^63 - 1"},
    {Kind::integer, ".data_offsets", "hold integers from 0 to 2^63 - 1"},
    {Kind::other, "", ""},
}};

struct Field {
  std::string_view key;
  Expect value;
  unsigned bit;
};
constexpr std::array<Field, 3> kFields{{
    {"dtype", Expect::dtype, 1U},
    {"shape", Expect::shape, 2U},
    {"data_offsets", Expect::offsets, 4U},
}};

/// An iterator that tells where the parser is.
struct TrackedChar {
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  const char* at;
  const char** position;

  reference operator*() const noexcept { return *at; }
  TrackedChar& operator++() noexcept {
    *position = ++at;
    return *this;
  }
  TrackedChar operator++(int) noexcept {
    const TrackedChar before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackedChar& other) const noexcept { return at == other.at; }
  bool operator!=(const TrackedChar& other) const noexcept { return at != other.at; }
};

/// nlohmann's SAX interface. Every event either fits what is expected or throws.
class HeaderEvents {
 public:
  HeaderEvents(std::string_view text, const Source& source)
      : begin_(text.data()), position_(text.data()), source_(source) {}

  const char** position() noexcept { return &position_; }
  Header take() noexcept { return std::move(header_); }

  bool null() { return other("null"); }
  bool boolean(bool) { return other("a boolean"); }
  bool number_integer(std::int64_t value) { return other(fmt::format("{}", value)); }
  bool number_float(double, const std::string& text) { return other(text); }
  bool binary(std::vector<std::uint8_t>&) { return other("binary data"); }

  bool number_unsigned(std::uint64_t value) {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return other(fmt::format("{}", value));
    }
    accept(Kind::integer, "a number");
    const auto number = static_cast<std::int64_t>(value);
    if (expect_ == Expect::dimension) entry_.shape.push_back(number);
    if (expect_ == Expect::offset) add_offset(number);
    return true;
  }

  bool string(std::string& value) {
    accept(Kind::text, "a string");
    if (expect_ == Expect::dtype) entry_.dtype = std::move(value);
    if (expect_ == Expect::metadata_text) header_.metadata[key_] = std::move(value);
    return true;
  }

  bool start_object(std::size_t) {
    accept(Kind::object, "an object");
    const Expect place =
        expect_ == Expect::entry && key_ == kMetadataKey ? Expect::metadata_text : expect_;
    enter(place);
    if (place == Expect::entry) {
      entry_ = {};
      entry_.name = key_;
      fields_ = 0;
    }
    return true;
  }

  bool key(std::string& name) {
    switch (places_[depth_ - 1]) {
      case Expect::header:
        begin_entry(name);
        break;
      case Expect::entry:
        begin_field(name);
        break;
      case Expect::metadata_text:
        begin_metadata(name);
        break;
      default:
        expect_ = Expect::anything;
    }
    return true;
  }

  bool end_object() {
    if (leave() == Expect::entry) finish_entry();
    return true;
  }

  bool start_array(std::size_t) {
    accept(Kind::array, "an array");
    const Expect place = expect_;
    enter(place);
    offsets_ = 0;
    if (place == Expect::shape) expect_ = Expect::dimension;
    if (place == Expect::offsets) expect_ = Expect::offset;
    return true;
  }

  bool end_array() {
    if (leave() == Expect::offsets && offsets_ != 2) {
      reject(tensor_property(".data_offsets"), "hold two offsets", fmt::format("{}", offsets_));
    }
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) {
    // The library's sentence carries the offending bytes; only its reason is fit to print.
    const bool range = error.id >= 400;
    reject("header", "be JSON in UTF-8", range ? "a number out of range" : "a syntax error");
  }

 private:
  static constexpr std::size_t kDeepest = 4;

  [[noreturn]] void reject(std::string_view subject, std::string_view rule, std::string_view got) {
    const auto at = static_cast<std::uint64_t>(position_ - begin_);
    refuse(Code::corrupt_data, "open_checkpoint: {} must {}; got {} (file {}, offset {})", subject,
           rule, got, in_quotes(source_.file), kLengthBytes + at);
  }

  std::string tensor_property(std::string_view property) const {
    return fmt::format("tensor {}{}", in_quotes(entry_.name), property);
  }

  void accept(Kind kind, std::string_view got) {
    const Expectation& expected = kExpectations[static_cast<std::size_t>(expect_)];
    if (expect_ == Expect::anything || expected.kind == kind) return;
    std::string subject = "header";
    if (expect_ == Expect::entry) subject = "header entry " + in_quotes(key_);
    if (expect_ == Expect::metadata_text) subject = "header entry '__metadata__'";
    if (*expected.property != '\0') subject = tensor_property(expected.property);
    reject(subject, expected.rule, got);
  }

  bool other(std::string_view got) {
    accept(Kind::other, got);
    return true;
  }

  void enter(Expect place) {
    if (depth_ == kDeepest) {
      reject("header", fmt::format("nest at most {} levels", kDeepest), "a deeper one");
    }
    places_[depth_++] = place;
  }

  // Inside an undefined field everything stays undefined; after a known array the next key decides.
  Expect leave() noexcept {
    const Expect left = places_[--depth_];
    if (depth_ > 0) expect_ = places_[depth_ - 1];
    return left;
  }

  void check_name(std::string_view name) {
    if (name.size() <= kLongestName) return;
    reject("header entry " + in_quotes(name),
           fmt::format("have a name of at most {} bytes", kLongestName),
           fmt::format("{}", name.size()));
  }

  void begin_entry(std::string& name) {
    check_name(name);
    key_ = std::move(name);
    expect_ = Expect::entry;
    if (key_ == kMetadataKey && std::exchange(metadata_seen_, true)) {
      reject("header entry '__metadata__'", "be there once", "it twice");
    }
  }

  void begin_metadata(std::string& name) {
    check_name(name);
    key_ = std::move(name);
    expect_ = Expect::metadata_text;
    if (header_.metadata.contains(key_)) {
      reject("metadata " + in_quotes(key_), "be there once", "it twice");
    }
  }

  void begin_field(std::string_view name) {
    const auto field = std::ranges::find(kFields, name, &Field::key);
    expect_ = field == kFields.end() ? Expect::anything : field->value;
    if (field == kFields.end()) return;
    if ((fields_ & field->bit) != 0U) {
      reject(tensor_property(fmt::format(".{}", name)), "be there once", "it twice");
    }
    fields_ |= field->bit;
  }

  void add_offset(std::int64_t value) {
    if (offsets_ == 0) entry_.begin = value;
    if (offsets_ == 1) entry_.end = value;
    ++offsets_;
  }

  void finish_entry() {
    for (const Field& field : kFields) {
      if ((fields_ & field.bit) == 0U) {
        reject(tensor_property(fmt::format(".{}", field.key)), "be there", "none");
      }
    }
    if (entry_.end < entry_.begin) {
      reject(tensor_property(".data_offsets"), "not end before they begin",
             fmt::format("[{}, {}]", entry_.begin, entry_.end));
    }
    if (header_.entries.size() == kMostTensors) {
      reject("header", fmt::format("name at most {} tensors", kMostTensors), "more");
    }
    header_.entries.push_back(std::move(entry_));
  }

  const char* begin_;
  const char* position_;
  const Source& source_;

  Header header_;
  Expect expect_ = Expect::header;
  std::array<Expect, kDeepest> places_{};  ///< what each open object or array is
  std::size_t depth_ = 0;
  bool metadata_seen_ = false;
  std::string key_;      ///< of the entry or metadata at hand
  TensorEntry entry_;    ///< the tensor at hand
  unsigned fields_ = 0;  ///< which of its fields have been seen
  int offsets_ = 0;      ///< how many of its offsets
};

// nlohmann takes a byte order mark for white space and a NUL byte for the end.
void check_first_and_nul(std::string_view text, const Source& source) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const std::size_t wrong = first == std::string_view::npos || text[first] != '{'
                                ? std::min(first, text.size())
                                : text.find('\0');
  if (wrong == std::string_view::npos) return;
  refuse(Code::corrupt_data,
         "open_checkpoint: header must be a JSON object; got something else (file {}, offset {})",
         in_quotes(source.file), kLengthBytes + wrong);
}

}  // namespace

Header parse_header_json(std::string_view text, const Source& source) {
  check_first_and_nul(text, source);
  HeaderEvents events(text, source);
  const TrackedChar first{text.data(), events.position()};
  const TrackedChar last{text.data() + text.size(), events.position()};
  nlohmann::json::sax_parse(first, last, &events);
  return events.take();
}

}  // namespace octavo::checkpoint
