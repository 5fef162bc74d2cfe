// SPDX-License-Identifier: Apache-2.0
// What properties draw their problems with.
#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <vector>

namespace octavo::test {

/// A whole number of [low, high].
inline std::int64_t between(std::int64_t low, std::int64_t high) {
  return *rc::gen::inRange<std::int64_t>(low, high + 1);
}
/// One time in four.
inline bool sometimes() { return between(0, 3) == 3; }
/// One of them; shrinks towards the first.
template <class T>
T one_of(const std::vector<T>& choices) {
  return choices[static_cast<std::size_t>(
      between(0, static_cast<std::int64_t>(choices.size()) - 1))];
}

}  // namespace octavo::test
