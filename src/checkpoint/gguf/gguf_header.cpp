// SPDX-License-Identifier: Apache-2.0
// Every count and length is checked against what is left of the file before anything is made of it.
#include "checkpoint/gguf/gguf_header.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <span>
#include <tuple>
#include <utility>

#include "checkpoint/safetensors/header.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

constexpr std::uint64_t kMostPairs = 65'536;
constexpr std::uint32_t kMostDims = 4;       // ggml's
constexpr std::int64_t kGgufAlignment = 32;  // where no key says another
constexpr std::string_view kAlignmentKey = "general.alignment";
constexpr std::uint32_t kValueTypes = 13;

/// Bytes of a value of fixed size; 0: a text or an array.
constexpr std::array<std::uint64_t, kValueTypes> kValueBytes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

/// The file from its beginning, as far as it has been asked for.
class GgufCursor {
 public:
  explicit GgufCursor(const InputFile& file) : file_(file) {}

  std::size_t at() const noexcept { return at_; }
  std::uint64_t left() const noexcept { return static_cast<std::uint64_t>(file_.bytes()) - at_; }
  std::string_view view(std::size_t begin, std::size_t size) const noexcept {
    return std::string_view(text_).substr(begin, size);
  }
  std::string take_text() {
    text_.resize(at_);
    return std::move(text_);
  }

  template <class T>
  T number(const char* what) {
    const std::size_t begin = skip(sizeof(T), what);  // which may move the text
    T value{};
    std::memcpy(&value, text_.data() + begin, sizeof value);
    return value;
  }
  /// The place of a text; its length stands before it.
  std::pair<std::size_t, std::size_t> text(const char* what, std::uint64_t longest) {
    const auto length = number<std::uint64_t>(what);
    if (length > longest) {
      refuse_here(what, fmt::format("be at most {} bytes long", longest), std::to_string(length));
    }
    return {skip(length, what), length};
  }
  /// The same of a name, which has to be UTF-8.
  std::pair<std::size_t, std::size_t> name(const char* what) {
    const auto place = text(what, kLongestName);
    if (!is_utf8(view(place.first, place.second))) {
      refuse_here(what, "be UTF-8", in_quotes(view(place.first, place.second)));
    }
    return place;
  }
  /// Passes over bytes; returns where they begin.
  std::size_t skip(std::uint64_t bytes, const char* what) {
    if (bytes > left()) {
      refuse_here(what, fmt::format("lie inside the file, which has {} bytes more", left()),
                  fmt::format("{} bytes", bytes));
    }
    if (bytes > kMostHeaderBytes - at_) {
      refuse_here("header", fmt::format("be at most {} bytes long", kMostHeaderBytes), "more");
    }
    const std::size_t begin = at_;
    at_ += bytes;
    fill();
    return begin;
  }
  /// A count of things that take at least so many bytes each.
  std::uint64_t count(const char* what, std::uint64_t most, std::uint64_t least_bytes) {
    const std::size_t begin = at_;
    const auto value = number<std::uint64_t>(what);
    const std::uint64_t room = std::min(most, left() / least_bytes);
    if (value > room) {
      at_ = begin;
      refuse_here(what, fmt::format("be at most {}", room), std::to_string(value));
    }
    return value;
  }
  [[noreturn]] void refuse_here(std::string_view what, std::string_view rule, std::string_view got,
                                Code code = Code::corrupt_data) const {
    refuse(code, "open_checkpoint: {} must {}; got {} (file {}, offset {})", what, rule, got,
           in_quotes(file_.path()), at_);
  }

 private:
  void fill() {
    constexpr std::size_t kChunk = std::size_t{64} << 10;
    if (at_ <= text_.size()) return;
    const std::size_t old = text_.size();
    const auto end = static_cast<std::size_t>(file_.bytes());
    text_.resize(std::min(end, std::max(at_ + kChunk, at_ + at_ / 2)));
    file_.read(static_cast<std::int64_t>(old),
               std::as_writable_bytes(std::span(text_).subspan(old)));
  }

  const InputFile& file_;
  std::string text_;
  std::size_t at_ = 0;
};

void check_version(GgufCursor& in) {
  in.skip(kGgufMagic.size(), "header");
  const auto version = in.number<std::uint32_t>("header.version");
  if (version == 2 || version == 3) return;
  const bool other_end = version != 0 && version << 16U == 0;
  in.refuse_here("header.version", other_end ? "be little-endian" : "be 2 or 3",
                 other_end ? "the number of a big-endian file" : std::to_string(version),
                 Code::unsupported);
}

GgufType type_of_value(GgufCursor& in) {
  const auto number = in.number<std::uint32_t>("value.type");
  if (number >= kValueTypes) in.refuse_here("value.type", "be at most 12", std::to_string(number));
  return static_cast<GgufType>(number);
}

/// A value whose views are places until the header is whole.
struct Pair {
  std::size_t key_begin = 0, key_size = 0, begin = 0, size = 0;
  GgufValue value;
};

void read_array(GgufCursor& in, Pair& pair) {
  GgufValue& value = pair.value;
  value.is_array = true;
  value.type = type_of_value(in);
  if (value.type == GgufType::array) {
    in.refuse_here("value.type", "be no array inside an array", "one");
  }
  const std::uint64_t bytes = kValueBytes.at(static_cast<std::size_t>(value.type));
  value.count = in.count("array.length", kMostHeaderBytes, bytes == 0 ? 8 : bytes);
  pair.begin = in.at();
  if (bytes != 0) {
    in.skip(value.count * bytes, "array");
  } else {
    for (std::uint64_t i = 0; i < value.count; ++i) in.text("text", kMostHeaderBytes);
  }
  pair.size = in.at() - pair.begin;
}

Pair read_pair(GgufCursor& in) {
  Pair pair;
  std::tie(pair.key_begin, pair.key_size) = in.name("key");
  pair.value.type = type_of_value(in);
  if (pair.value.type == GgufType::array) {
    read_array(in, pair);
  } else if (pair.value.type == GgufType::text) {
    std::tie(pair.begin, pair.size) = in.text("text", kMostHeaderBytes);
  } else {
    pair.size = kValueBytes.at(static_cast<std::size_t>(pair.value.type));
    pair.begin = in.skip(pair.size, "value");
  }
  return pair;
}

/// The bytes of a tensor; nothing where they are 2^63 or more, or no whole blocks.
std::optional<std::int64_t> bytes_of(const GgufTensor& tensor) {
  const std::int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  std::int64_t bytes = row / tensor.type->elements;
  if (row % tensor.type->elements != 0) return std::nullopt;
  bool wraps = __builtin_mul_overflow(bytes, tensor.type->bytes, &bytes);
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    wraps = wraps || __builtin_mul_overflow(bytes, tensor.shape[i], &bytes);
  }
  return wraps ? std::nullopt : std::optional(bytes);
}

GgufTensor read_tensor(GgufCursor& in) {
  GgufTensor tensor;
  const auto [name, length] = in.name("tensor.name");
  tensor.name = in.view(name, length);
  const std::string what = fmt::format("tensor {}", in_quotes(tensor.name));
  const auto dims = in.number<std::uint32_t>("tensor.dims");
  if (dims > kMostDims) {
    in.refuse_here(what + ".dims", fmt::format("be at most {}", kMostDims), std::to_string(dims));
  }
  for (std::uint32_t i = 0; i < dims; ++i) {
    const auto extent = in.number<std::uint64_t>("tensor.shape");
    if (extent > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      in.refuse_here(what + ".shape", "have extents below 2^63", std::to_string(extent));
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(extent));
  }
  const auto type = in.number<std::uint32_t>("tensor.type");
  tensor.type = find_block_type(type);
  if (tensor.type == nullptr) {
    in.refuse_here(what + ".type", "be one of ggml's that files have", std::to_string(type));
  }
  const auto offset = in.number<std::uint64_t>("tensor.offset");
  const auto bytes = bytes_of(tensor);
  if (!bytes) {
    in.refuse_here(what + ".shape",
                   fmt::format("have rows of whole blocks of {} and less than 2^63 bytes",
                               tensor.type->elements),
                   fmt::format("{} of {}", shape_text(tensor.shape), tensor.type->name));
  }
  tensor.bytes = *bytes;
  if (offset > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() - *bytes)) {
    in.refuse_here(what + ".offset", "lie inside the file", std::to_string(offset));
  }
  tensor.begin = static_cast<std::int64_t>(offset);
  return tensor;
}

std::int64_t alignment_of(const GgufCursor& in, const GgufHeader& header) {
  const GgufValue* const value = header.find(kAlignmentKey);
  if (value == nullptr) return kGgufAlignment;
  const auto number = value->type == GgufType::uint32 ? value->integer() : std::nullopt;
  if (number && std::has_single_bit(static_cast<std::uint64_t>(*number))) return *number;
  in.refuse_here(kAlignmentKey, "be a power of two, of type uint32", value->spelled());
}

void sort_values(const GgufCursor& in, GgufHeader& header) {
  std::ranges::sort(header.values, {}, &GgufValue::key);
  const auto twin = std::ranges::adjacent_find(header.values, {}, &GgufValue::key);
  if (twin == header.values.end()) return;
  in.refuse_here(fmt::format("key {}", in_quotes(twin->key)), "be in the header once", "it twice");
}

/// Tensors begin at multiples of the alignment, none inside another or behind the file's end.
void check_places(const GgufCursor& in, const InputFile& file, std::int64_t alignment,
                  GgufHeader& header) {
  std::ranges::stable_sort(header.tensors, {}, [](const GgufTensor& tensor) {
    return std::pair(tensor.begin, tensor.bytes);
  });
  const std::int64_t room = file.bytes() - header.data_begin;
  std::int64_t cursor = 0;
  for (const GgufTensor& tensor : header.tensors) {
    const std::string what = fmt::format("tensor {}.offset", in_quotes(tensor.name));
    if (tensor.begin % alignment != 0) {
      in.refuse_here(what, fmt::format("be a multiple of {}", alignment),
                     std::to_string(tensor.begin));
    }
    if (tensor.begin < cursor) {
      in.refuse_here(what, fmt::format("be at least {}, where the tensor before it ends", cursor),
                     std::to_string(tensor.begin));
    }
    cursor = tensor.begin + tensor.bytes;
    if (cursor > room) {
      in.refuse_here(what,
                     fmt::format("leave its {} bytes inside the data section of {} bytes",
                                 tensor.bytes, std::max<std::int64_t>(room, 0)),
                     fmt::format("{}, a truncated file", tensor.begin));
    }
  }
}

}  // namespace

const GgufValue* GgufHeader::find(std::string_view key) const noexcept {
  const auto found = std::ranges::lower_bound(values, key, {}, &GgufValue::key);
  return found != values.end() && found->key == key ? &*found : nullptr;
}

bool is_gguf(const InputFile& file) {
  std::string first(kGgufMagic.size(), '\0');
  if (file.bytes() < static_cast<std::int64_t>(first.size())) return false;
  file.read(0, std::as_writable_bytes(std::span(first)));
  return first == kGgufMagic;
}

GgufHeader read_gguf_header(const InputFile& file) {
  constexpr std::uint64_t kLeastPair = 8 + 4 + 1, kLeastTensor = 8 + 4 + 4 + 8;
  GgufCursor in(file);
  check_version(in);
  const std::uint64_t tensors = in.count("header.tensor_count", kMostTensors, kLeastTensor);
  const std::uint64_t pairs = in.count("header.kv_count", kMostPairs, kLeastPair);
  std::vector<Pair> read;
  for (std::uint64_t i = 0; i < pairs; ++i) read.push_back(read_pair(in));
  GgufHeader header;
  for (std::uint64_t i = 0; i < tensors; ++i) header.tensors.push_back(read_tensor(in));
  header.text = std::make_shared<const std::string>(in.take_text());
  const std::string_view text = *header.text;
  for (Pair& pair : read) {
    pair.value.key = text.substr(pair.key_begin, pair.key_size);
    pair.value.bytes = text.substr(pair.begin, pair.size);
    header.values.push_back(pair.value);
  }
  sort_values(in, header);
  const std::int64_t alignment = alignment_of(in, header);
  const auto end = static_cast<std::int64_t>(header.text->size());
  header.data_begin = (end + alignment - 1) / alignment * alignment;
  check_places(in, file, alignment, header);
  return header;
}

}  // namespace octavo::checkpoint
