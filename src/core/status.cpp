// SPDX-License-Identifier: Apache-2.0
// The table of codes, and statuses that survive a failing allocator.
#include "octavo/status.hpp"

#include <array>

namespace octavo {
namespace {

struct CodeRow {
  const char* name;
  const char* sentence;  // what a status without a sentence of its own says
};

constexpr std::array<CodeRow, 9> kCodes{{
    {"ok", "no failure"},
    {"invalid_argument", "an argument breaks a rule of the operation"},
    {"unsupported", "the request is legal, but not built"},
    {"unavailable", "something that was asked for is not there"},
    {"out_of_memory", "memory must be available; got none"},
    {"io", "the operating system refused a read or a write"},
    {"corrupt_data", "a file breaks its format"},
    {"device", "an accelerator reported a failure"},
    {"internal", "a fault of Octavo itself"},
}};
static_assert(static_cast<std::size_t>(Code::internal) + 1 == kCodes.size());

const CodeRow& row(Code code) noexcept { return kCodes[static_cast<std::size_t>(code)]; }

}  // namespace

const char* code_name(Code code) noexcept { return row(code).name; }

Status::Status(Code code, std::string message) noexcept : code_(code) {
  if (message.empty()) return;
  try {
    message_ = std::make_shared<const std::string>(std::move(message));
  } catch (...) {  // the code's own sentence stands in
  }
}

std::string_view Status::message() const noexcept {
  return message_ ? std::string_view(*message_) : std::string_view(row(code_).sentence);
}

// Both sources of a message end in a null byte.
const char* Error::what() const noexcept { return status_.message().data(); }

}  // namespace octavo
