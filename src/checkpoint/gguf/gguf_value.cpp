// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "checkpoint/gguf/gguf_header.hpp"

namespace octavo::checkpoint {
namespace {

constexpr std::array<std::string_view, 13> kGgufTypeNames{
    "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
    "bool",  "string", "array",  "uint64", "int64",  "float64"};

template <class T>
T load(const char* at) noexcept {
  T value{};
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// An integer of up to 64 bits; none for other types and from 2^63 on.
std::optional<std::int64_t> integer_at(GgufType type, const char* at) noexcept {
  switch (type) {
    case GgufType::uint8:
      return load<std::uint8_t>(at);
    case GgufType::int8:
      return load<std::int8_t>(at);
    case GgufType::uint16:
      return load<std::uint16_t>(at);
    case GgufType::int16:
      return load<std::int16_t>(at);
    case GgufType::uint32:
      return load<std::uint32_t>(at);
    case GgufType::int32:
      return load<std::int32_t>(at);
    case GgufType::int64:
      return load<std::int64_t>(at);
    case GgufType::uint64: {
      const auto value = load<std::uint64_t>(at);
      if (value <= std::uint64_t{std::numeric_limits<std::int64_t>::max()})
        return static_cast<std::int64_t>(value);
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> number_at(GgufType type, const char* at) noexcept {
  if (type == GgufType::float32) return load<float>(at);
  if (type == GgufType::float64) return load<double>(at);
  if (const auto integer = integer_at(type, at)) return static_cast<double>(*integer);
  if (type == GgufType::uint64) return static_cast<double>(load<std::uint64_t>(at));
  return std::nullopt;
}

}  // namespace

std::optional<std::int64_t> GgufValue::integer() const noexcept {
  return is_array ? std::nullopt : integer_at(type, bytes.data());
}

std::optional<double> GgufValue::number() const noexcept {
  return is_array ? std::nullopt : number_at(type, bytes.data());
}

std::optional<bool> GgufValue::boolean() const noexcept {
  if (is_array || type != GgufType::boolean) return std::nullopt;
  return bytes[0] != 0;
}

std::optional<std::string_view> GgufValue::text() const noexcept {
  if (is_array || type != GgufType::text) return std::nullopt;
  return bytes;
}

std::vector<std::string_view> GgufValue::texts() const {
  std::vector<std::string_view> all;
  if (!is_array || type != GgufType::text) return all;
  all.reserve(count);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto length = load<std::uint64_t>(bytes.data() + at);
    all.push_back(bytes.substr(at + sizeof length, length));
    at += sizeof length + length;
  }
  return all;
}

std::vector<double> GgufValue::numbers() const {
  std::vector<double> all;
  if (!is_array || count == 0 || !number_at(type, bytes.data())) return all;
  const std::size_t step = bytes.size() / count;
  all.reserve(count);
  for (std::size_t i = 0; i < count; ++i) all.push_back(*number_at(type, bytes.data() + i * step));
  return all;
}

std::string GgufValue::spelled() const {
  if (is_array) {
    return fmt::format("[{} x {}]", count, kGgufTypeNames.at(static_cast<std::size_t>(type)));
  }
  if (const auto value = text()) return std::string(*value);
  if (const auto value = boolean()) return *value ? "true" : "false";
  if (const auto value = integer()) return std::to_string(*value);
  if (type == GgufType::uint64) return std::to_string(load<std::uint64_t>(bytes.data()));
  if (type == GgufType::float32) return fmt::format("{}", load<float>(bytes.data()));
  return fmt::format("{}", load<double>(bytes.data()));
}

}  // namespace octavo::checkpoint
