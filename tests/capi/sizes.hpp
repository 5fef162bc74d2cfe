// SPDX-License-Identifier: Apache-2.0
// Structs with a struct_size that this version does not know.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <string>

#include "capi/sample.hpp"

namespace octavo::test {

/// `call` must take a struct of its own size, and refuse any other without a word written into it.
template <class Struct>
void expect_one_size(const char* what, const std::function<octavo_code(Struct*)>& call,
                     Struct good) {
  EXPECT_EQ(call(&good), OCTAVO_OK) << what << ": " << octavo_last_error();
  constexpr std::size_t kRight = sizeof(Struct);
  for (const std::size_t wrong : {std::size_t{0}, std::size_t{4}, std::size_t{8}, kRight - 8,
                                  kRight + 8, std::size_t{1} << 60, ~std::size_t{0}}) {
    Struct given;
    std::memset(&given, 0xA5, sizeof given);  // pointers, if anything looked
    given.struct_size = wrong;
    const Struct before = given;
    expect_refused(call(&given), OCTAVO_INVALID_ARGUMENT,
                   "struct_size must be " + std::to_string(kRight) +
                       ", the struct's sizeof in this version; got " + std::to_string(wrong),
                   what);
    EXPECT_EQ(0, std::memcmp(&before, &given, sizeof given)) << what;
  }
}

}  // namespace octavo::test
