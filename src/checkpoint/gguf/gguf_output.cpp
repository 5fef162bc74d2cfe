// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/gguf_output.hpp"

#include "checkpoint/gguf/gguf_header.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::uint32_t kGgufVersion = 3;
constexpr std::size_t kTensorAlignment = 32;

template <class T>
void append(std::string& to, T value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void append_text(std::string& to, std::string_view text) {
  append(to, std::uint64_t{text.size()});
  to += text;
}

constexpr std::uint32_t number(GgufType type) noexcept { return static_cast<std::uint32_t>(type); }

}  // namespace

void GgufLayout::put_key(std::string_view key, std::uint32_t type) {
  append_text(pairs_, key);
  append(pairs_, type);
  ++pair_count_;
}

void GgufLayout::put(std::string_view key, std::string_view text) {
  put_key(key, number(GgufType::text));
  append_text(pairs_, text);
}

void GgufLayout::put(std::string_view key, std::uint32_t value) {
  put_key(key, number(GgufType::uint32));
  append(pairs_, value);
}

void GgufLayout::put(std::string_view key, float value) {
  put_key(key, number(GgufType::float32));
  append(pairs_, value);
}

void GgufLayout::put(std::string_view key, bool value) {
  put_key(key, number(GgufType::boolean));
  pairs_ += value ? '\1' : '\0';
}

void GgufLayout::put(std::string_view key, std::span<const std::string> texts) {
  put_key(key, number(GgufType::array));
  append(pairs_, number(GgufType::text));
  append(pairs_, std::uint64_t{texts.size()});
  for (const std::string& text : texts) append_text(pairs_, text);
}

void GgufLayout::put(std::string_view key, std::span<const std::int32_t> values) {
  put_key(key, number(GgufType::array));
  append(pairs_, number(GgufType::int32));
  append(pairs_, std::uint64_t{values.size()});
  for (const std::int32_t value : values) append(pairs_, value);
}

std::size_t GgufLayout::add(std::string_view name, std::span<const std::int64_t> shape,
                            const BlockType& type) {
  append_text(tensors_, name);
  append(tensors_, static_cast<std::uint32_t>(shape.size()));
  std::int64_t elements = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    append(tensors_, static_cast<std::uint64_t>(shape[i]));
    elements *= shape[i];
  }
  append(tensors_, type.id);
  append(tensors_, static_cast<std::uint64_t>(bytes_));
  begins_.push_back(bytes_);
  const std::int64_t end = bytes_ + elements / type.elements * type.bytes;
  constexpr auto kAlign = static_cast<std::int64_t>(kTensorAlignment);
  bytes_ = (end + kAlign - 1) / kAlign * kAlign;
  return begins_.size() - 1;
}

std::string GgufLayout::header() const {
  std::string text(kGgufMagic);
  append(text, kGgufVersion);
  append(text, std::uint64_t{begins_.size()});
  append(text, pair_count_);
  text += pairs_;
  text += tensors_;
  text.append((kTensorAlignment - text.size() % kTensorAlignment) % kTensorAlignment, '\0');
  return text;
}

}  // namespace octavo::checkpoint
