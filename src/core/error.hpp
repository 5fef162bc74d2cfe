// SPDX-License-Identifier: Apache-2.0
// Making statuses, and the one place where they turn into exceptions.
#pragma once

#include <fmt/core.h>

#include <new>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "octavo/status.hpp"

namespace octavo {

/// A status `fail(code, "op: argument.property must <rule>; got {}", value)`. Never throws: where
/// the sentence cannot be allocated, the code remains.
template <class... Args>
Status fail(Code code, fmt::format_string<Args...> sentence, Args&&... args) noexcept {
  try {
    return {code, fmt::format(sentence, std::forward<Args>(args)...)};
  } catch (...) {
    return {code, std::string()};
  }
}

[[noreturn]] inline void throw_status(Status status) { throw Error(std::move(status)); }

/// Throws the Error of a sentence. Of layers, ranks, readers and writers of files and the C ABI:
/// core, backends, ops and lines return a Status (scripts/check_includes.py).
template <class... Args>
[[noreturn]] void refuse(Code code, fmt::format_string<Args...> sentence, Args&&... args) {
  throw_status(fail(code, sentence, std::forward<Args>(args)...));
}

inline void throw_if_failed(Status status) {
  if (!status.ok()) throw_status(std::move(status));
}

namespace detail {
template <class T>
T value_or_throw(Result<T>&& result) {
  if (!result.ok()) throw_status(result.status());
  return std::move(result).value();
}
inline void value_or_throw(Status&& status) { throw_if_failed(std::move(status)); }
[[noreturn]] inline void no_memory(const char* operation) {
  refuse(Code::out_of_memory, "{}: memory must be available; got none", operation);
}
template <class T>
T value_or_throw(T&& value) {
  return std::forward<T>(value);
}
}  // namespace detail

/// Runs the body of a public entry point: its Status or Result becomes a return or an Error, any
/// other value is returned, and memory that could not be had becomes Error(out_of_memory).
template <class Body>
auto at_edge(const char* operation, Body&& body) {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
    } else {
      return detail::value_or_throw(body());
    }
  } catch (const std::bad_alloc&) {
    detail::no_memory(operation);
  } catch (const std::length_error&) {  // a container of more elements than any memory has
    detail::no_memory(operation);
  }
}

}  // namespace octavo

/// Returns early from a function that returns Status or Result<T>.
#define OCTAVO_TRY(expression)                                                \
  do {                                                                        \
    if (::octavo::Status octavo_status_ = (expression); !octavo_status_.ok()) \
      return octavo_status_;                                                  \
  } while (false)

#define OCTAVO_CONCAT_(a, b) a##b
#define OCTAVO_CONCAT(a, b) OCTAVO_CONCAT_(a, b)
#define OCTAVO_TRY_ASSIGN_(result, target, expression) \
  auto result = (expression);                          \
  if (!result.ok()) return result.status();            \
  target = std::move(result).value()

/// Assigns a Result's value or returns its status.
#define OCTAVO_TRY_ASSIGN(target, expression) \
  OCTAVO_TRY_ASSIGN_(OCTAVO_CONCAT(octavo_result_, __COUNTER__), target, expression)
