// SPDX-License-Identifier: Apache-2.0
// vpdpbusd and vpdpbssd in plain C++.
#pragma once

#include <cstdint>

namespace octavo::test::vnni {

/// sum + the sum of four products of bytes, those of `a` taken as `Byte`s, those of b signed;
/// modulo 2^32.
template <class Byte>
std::uint32_t dot(std::uint32_t sum, std::uint32_t a, std::uint32_t b) {
  for (int shift = 0; shift < 32; shift += 8) {
    const int left = static_cast<Byte>(a >> shift);
    sum += static_cast<std::uint32_t>(left * static_cast<std::int8_t>(b >> shift));
  }
  return sum;
}

}  // namespace octavo::test::vnni
