// SPDX-License-Identifier: Apache-2.0
// Errors: one code and one sentence, as a value inside the library and as an exception at its edge.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "octavo/export.hpp"

namespace octavo {

/// What kind of failure a Status or an Error reports.
enum class Code : int {
  ok = 0,            ///< no failure
  invalid_argument,  ///< an argument breaks a rule; the sentence names argument, rule and values
  unsupported,       ///< the request is legal, but not built; the sentence says what to do instead
  unavailable,       ///< the device, the backend or the file asked for is not there
  out_of_memory,     ///< an allocation failed; nothing was changed
  io,                ///< the operating system refused a read or a write
  corrupt_data,      ///< a file's content breaks its format; the sentence names tensor and offset
  device,            ///< an accelerator reported a failure
  internal,          ///< a fault of Octavo itself
};

/// The stable name of a code ("invalid_argument", ...).
OCTAVO_API const char* code_name(Code code) noexcept;

/// A code and a sentence `operation: argument.property must <rule>; got <values>`.
///
/// Copies share the sentence and never throw. A status whose sentence could not be allocated
/// still carries its code and answers with that code's own sentence.
class [[nodiscard]] OCTAVO_API Status {
 public:
  Status() noexcept = default;
  Status(Code code, std::string message) noexcept;

  /// Whether nothing failed.
  bool ok() const noexcept { return code_ == Code::ok; }
  /// What failed.
  Code code() const noexcept { return code_; }
  /// The sentence.
  std::string_view message() const noexcept;

 private:
  Code code_ = Code::ok;
  std::shared_ptr<const std::string> message_;
};

/// The exception that every public C++ function throws; `what()` is the status's sentence.
class OCTAVO_API Error : public std::exception {
 public:
  explicit Error(Status status) noexcept : status_(std::move(status)) {}
  const char* what() const noexcept override;
  /// What failed.
  Code code() const noexcept { return status_.code(); }
  /// Code and sentence.
  const Status& status() const noexcept { return status_; }

 private:
  Status status_;
};

/// A value or the status that says why there is none.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}                  // NOLINT: implicit on purpose
  Result(Status status) noexcept : state_(std::move(status)) {}  // NOLINT: implicit on purpose

  /// Whether there is a value.
  bool ok() const noexcept { return state_.index() == 1; }
  /// The value; only where ok().
  const T& value() const& { return std::get<1>(state_); }
  /// The value; only where ok().
  T& value() & { return std::get<1>(state_); }
  /// The value; only where ok().
  T&& value() && { return std::get<1>(std::move(state_)); }
  /// Why there is no value; of code ok where there is one.
  Status status() const noexcept { return ok() ? Status() : *std::get_if<0>(&state_); }

 private:
  std::variant<Status, T> state_;
};

}  // namespace octavo
