// SPDX-License-Identifier: Apache-2.0
// Structs of every version: older, newer and with a wrong size.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "capi/sample.hpp"

namespace octavo::test {

/// A struct with room behind it.
template <class Struct>
union Padded {
  unsigned char bytes[sizeof(Struct) + 16];
  Struct value;
  Padded() { std::memset(bytes, 0, sizeof bytes); }
};

inline constexpr const char* kSizeRule = "struct_size must be the struct's sizeof";

/// `call` must succeed where every field behind `base` has its default.
template <class Struct>
void expect_input_sizes(const char* what, std::function<octavo_code(const Struct*)> call,
                        const Struct& base, std::size_t oldest = sizeof(std::size_t)) {
  Padded<Struct> given;
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{4}, sizeof(Struct) + 1,
                                  std::size_t{4104}, std::size_t{1} << 60, ~std::size_t{0}}) {
    given.value = base;
    given.value.struct_size = wrong;
    expect_refused(call(&given.value), OCTAVO_INVALID_ARGUMENT, kSizeRule, what);
  }
  for (std::size_t older = oldest; older <= sizeof(Struct); older += 8) {
    given.value = base;
    std::memset(given.bytes + older, 0xA5, sizeof given.bytes - older);  // not the caller's
    given.value.struct_size = older;
    EXPECT_EQ(call(&given.value), OCTAVO_OK) << what << ' ' << older << ": " << octavo_last_error();
  }
  std::memset(given.bytes, 0, sizeof given.bytes);
  given.value = base;
  given.value.struct_size = sizeof given.bytes;
  EXPECT_EQ(call(&given.value), OCTAVO_OK) << what << ": " << octavo_last_error();
  given.bytes[sizeof(Struct) + 9] = 1;
  expect_refused(call(&given.value), OCTAVO_UNSUPPORTED, "struct_size must be at most", what);
}

}  // namespace octavo::test
