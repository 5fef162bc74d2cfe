// SPDX-License-Identifier: Apache-2.0
// What properties draw their problems with.
#pragma once

#include <gtest/gtest-spi.h>
#include <rapidcheck.h>

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace octavo::test {

/// A whole number of [low, high], each as often: by itself inRange begins a run with the lowest
/// ones alone, and choices would be their first ones. Shrinks towards `low`.
inline std::int64_t between(std::int64_t low, std::int64_t high) {
  return *rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::int64_t>(low, high + 1));
}
/// One time in four.
inline bool sometimes() { return between(0, 3) == 3; }
/// One of them; shrinks towards the first.
template <class T>
T one_of(const std::vector<T>& choices) {
  return choices[static_cast<std::size_t>(
      between(0, static_cast<std::int64_t>(choices.size()) - 1))];
}

/// What expectations say during a call. They fail no test by themselves: a smaller problem can be
/// looked for first.
template <class Call>
std::string failures(const Call& call) {
  testing::TestPartResultArray results;
  {
    const testing::ScopedFakeTestPartResultReporter reporter(
        testing::ScopedFakeTestPartResultReporter::INTERCEPT_ONLY_CURRENT_THREAD, &results);
    call();
  }
  std::string all;
  for (int i = 0; i < results.size(); ++i) {
    const testing::TestPartResult& result = results.GetTestPartResult(i);
    if (result.failed()) all += std::string(result.message()) + '\n';
  }
  return all;
}

/// One drawn problem, which a failure tells of beside what `check` expected of it.
template <class Drawn, class Check>
void check_drawn(const Drawn& drawn, const Check& check) {
  std::ostringstream text;
  text << drawn;
  RC_LOG() << text.str() << '\n';
  const std::string failure = failures([&] { check(drawn); });
  if (!failure.empty()) RC_FAIL(failure + text.str());
}

/// Before each check; rapidcheck reads this once: OCTAVO_PROPERTY_CASES sets how many problems are
/// drawn (`number` without it), OCTAVO_PROPERTY_SEED repeats a run.
inline void configure(int number = 300) {
  static const bool configured = [=] {
    const auto variable = [](const char* name, const std::string& otherwise) {
      const char* value = std::getenv(name);
      return value != nullptr ? std::string(value) : otherwise;
    };
    const std::string cases = variable("OCTAVO_PROPERTY_CASES", std::to_string(number));
    const std::string seed =
        variable("OCTAVO_PROPERTY_SEED", std::to_string(std::random_device()()));
    ::setenv("RC_PARAMS", ("noshrink=0 max_success=" + cases + " seed=" + seed).c_str(), 0);
    std::cout << "OCTAVO_PROPERTY_SEED=" << seed << " OCTAVO_PROPERTY_CASES=" << cases << std::endl;
    return true;
  }();
  (void)configured;
}

}  // namespace octavo::test
