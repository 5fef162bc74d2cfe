// SPDX-License-Identifier: Apache-2.0
// The wall between C and C++: exceptions become codes, sentences are kept for octavo_last_error.
#pragma once

#include <fmt/core.h>

#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "octavo/octavo.h"
#include "octavo/status.hpp"

namespace octavo::capi {

/// The code of the exception being handled; keeps its sentence.
OCTAVO_INTERNAL_API octavo_code translate_exception(const char* operation) noexcept;

/// Runs the body of a C function. Nothing that it throws passes.
template <class Body>
octavo_code guarded(const char* operation, Body&& body) noexcept {
  try {
    body();
    return OCTAVO_OK;
  } catch (...) {
    return translate_exception(operation);
  }
}

/// Throws the Error of a sentence, for `guarded` to catch.
template <class... Args>
[[noreturn]] void refuse(Code code, fmt::format_string<Args...> sentence, Args&&... args) {
  throw Error(Status(code, fmt::format(sentence, std::forward<Args>(args)...)));
}

/// What a sentence speaks of: "scaled_mm: options.out.dtype", "grouped_mm: inputs[2].data". All
/// names are literals.
struct OCTAVO_INTERNAL_API ArgumentPath {
  const char* operation;
  const char* argument;
  std::int64_t index = -1;
  std::array<const char*, 4> properties{};

  ArgumentPath at(std::int64_t i) const noexcept;
  ArgumentPath of(const char* name) const noexcept;
  std::string text() const;
};

/// Refuses a null pointer.
OCTAVO_INTERNAL_API void require(const ArgumentPath& place, const void* pointer);

/// A count that is not negative, with an array behind it unless it is 0.
OCTAVO_INTERNAL_API std::size_t checked_count(const ArgumentPath& place, const void* array,
                                              std::int64_t count);

/// An index into what has `count` elements.
OCTAVO_INTERNAL_API std::size_t checked_index(const ArgumentPath& place, std::int64_t index,
                                              std::size_t count);

/// A string that must be there.
OCTAVO_INTERNAL_API const char* text_of(const ArgumentPath& place, const char* text);

}  // namespace octavo::capi
