// SPDX-License-Identifier: Apache-2.0
// The one place where exceptions become codes.
#include "capi/guard.hpp"

#include <algorithm>
#include <exception>
#include <new>
#include <stdexcept>

namespace octavo::capi {
namespace {

// Copying a status never throws and its sentence is shared, so keeping one cannot fail.
Error& last_error() noexcept {
  thread_local Error error{Status()};
  return error;
}

octavo_code keep(const Error& error) noexcept {
  last_error() = error;
  return static_cast<octavo_code>(error.code());
}

octavo_code keep(Code code, const char* operation, const char* rest) noexcept {
  std::string sentence;  // empty where there is no memory for it: the code's own stands in
  try {
    sentence = fmt::format("{}: {}", operation, rest);
  } catch (...) {
  }
  return keep(Error(Status(code, std::move(sentence))));
}

}  // namespace

octavo_code translate_exception(const char* operation) noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return keep(error);
  } catch (const std::bad_alloc&) {
    return keep(Code::out_of_memory, operation, "memory must be available; got none");
  } catch (const std::length_error&) {  // a container of more elements than any memory has
    return keep(Code::out_of_memory, operation, "memory must be available; got none");
  } catch (const std::exception& error) {
    return keep(Code::internal, operation, error.what());
  } catch (...) {
    return keep(Code::internal, operation, "every failure must be an Error; got something else");
  }
}

ArgumentPath ArgumentPath::at(std::int64_t i) const noexcept {
  ArgumentPath place = *this;
  place.index = i;
  return place;
}

ArgumentPath ArgumentPath::of(const char* name) const noexcept {
  ArgumentPath place = *this;
  const auto end = std::ranges::find(place.properties, nullptr);
  if (end != place.properties.end()) *end = name;
  return place;
}

std::string ArgumentPath::text() const {
  std::string text = fmt::format("{}: {}", operation, argument);
  if (index >= 0) text += fmt::format("[{}]", index);
  for (const char* property : properties) {
    if (property != nullptr) text += fmt::format(".{}", property);
  }
  return text;
}

void require(const ArgumentPath& place, const void* pointer) {
  if (pointer != nullptr) return;
  refuse(Code::invalid_argument, "{} must not be null; got null", place.text());
}

std::size_t checked_count(const ArgumentPath& place, const void* array, std::int64_t count) {
  if (count < 0) {
    refuse(Code::invalid_argument, "{} must have a count of at least 0; got {}", place.text(),
           count);
  }
  if (count > 0) require(place, array);
  return static_cast<std::size_t>(count);
}

std::size_t checked_index(const ArgumentPath& place, std::int64_t index, std::size_t count) {
  if (index < 0 || static_cast<std::uint64_t>(index) >= count) {
    refuse(Code::invalid_argument, "{} must be in [0, {}); got {}", place.text(), count, index);
  }
  return static_cast<std::size_t>(index);
}

const char* text_of(const ArgumentPath& place, const char* text) {
  require(place, text);
  return text;
}

}  // namespace octavo::capi

const char* octavo_last_error(void) { return octavo::capi::last_error().what(); }

const char* octavo_code_name(octavo_code code) {
  if (code < OCTAVO_OK || code > OCTAVO_INTERNAL) return "unknown";
  return octavo::code_name(static_cast<octavo::Code>(code));
}
