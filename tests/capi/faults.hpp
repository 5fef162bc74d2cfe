// SPDX-License-Identifier: Apache-2.0
// All that can be wrong with a descriptor, for every place that takes one.
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "capi/options.hpp"
#include "capi/sample.hpp"
#include "octavo/backend.hpp"

namespace octavo::test {

inline constexpr std::int64_t kHuge = std::int64_t{1} << 62;
inline constexpr std::int64_t kNegative[] = {2, -1};
inline constexpr std::int64_t kTooLarge[] = {kHuge, kHuge};

/// What is wrong with a descriptor.
struct Fault {
  std::string sentence;
  octavo_code code;
  std::function<void(octavo_view&)> spoil;
};

inline const std::vector<Fault>& faults() {
  static const std::vector<Fault> list{
      {"ndim must be in [0, 8]; got -1", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) { v.ndim = -1; }},
      {"ndim must be in [0, 8]; got 9", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) { v.ndim = 9; }},
      {"ndim must be in [0, 8]; got 2147483647", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) { v.ndim = std::numeric_limits<std::int32_t>::max(); }},
      {"shape must not be null; got null for 2 dimensions", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) {
         v.ndim = 2;
         v.shape = nullptr;
       }},
      {"shape must not be negative; got -1", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) {
         v.ndim = 2;
         v.shape = kNegative;
       }},
      {"elements to 8 bytes; got [46", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) {
         v.ndim = 2;
         v.shape = kTooLarge;
       }},
      {"dtype.lanes must be 1; got 2", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) {
         v.dtype = {2, 32, 2};
       }},
      {"dtype must be a type that Octavo knows", OCTAVO_UNSUPPORTED,
       [](octavo_view& v) {
         v.dtype = {200, 8, 1};
       }},
      {"dtype must be defined; got an undefined one", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) {
         v.dtype = {0, 0, 0};
       }},
      {"device " + octavo::device_refusal("cuda", 64), OCTAVO_UNAVAILABLE,
       [](octavo_view& v) {
         v.device = {OCTAVO_CUDA, 64};
       }},
      {"device must be cpu (no type 77 backend is built); got type 77", OCTAVO_UNAVAILABLE,
       [](octavo_view& v) { v.device.type = 77; }},
      {"device must be set (type 1 is the CPU); got type 0", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) { v.device.type = 0; }},
      {"data must not be null; got null", OCTAVO_INVALID_ARGUMENT,
       [](octavo_view& v) { v.data = nullptr; }},
  };
  return list;
}

/// A place for a descriptor: a good one for it, and the call with another in its stead.
struct Argument {
  std::string name;  ///< in the sentence
  const octavo_view* good;
  std::function<octavo_code(const octavo_view*)> call;
};

/// Legal descriptors of one element, repeated so often that products of their extents wrap:
/// whatever rule a place has, it finds one of them broken before it counts or reads anything.
inline void expect_wrapping_extents_refused(const Argument& argument) {
  static constexpr std::int64_t kMany = (std::int64_t{1} << 61) - 1;
  static constexpr std::int64_t kSquare = std::int64_t{1} << 31;
  static constexpr std::int64_t kStill[] = {0, 0, 0};
  static constexpr std::int64_t kShapes[][3] = {
      {kMany}, {1, kMany}, {kMany, 1}, {kSquare, kSquare}, {1, 1, kMany}, {kMany, 1, 1}};
  static constexpr std::int32_t kRanks[] = {1, 2, 2, 2, 3, 3};
  for (std::size_t i = 0; i < std::size(kRanks); ++i) {
    octavo_view view = *argument.good;
    view.ndim = kRanks[i];
    view.shape = kShapes[i];
    view.strides = kStill;
    EXPECT_EQ(argument.call(&view), OCTAVO_INVALID_ARGUMENT)
        << argument.name << ", shape " << i << ": " << octavo_last_error();
  }
}

/// Each fault in each place is refused, and the sentence says where.
inline void expect_faults_found(const std::vector<Argument>& arguments) {
  for (const Argument& argument : arguments) {
    expect_wrapping_extents_refused(argument);
    for (const Fault& fault : faults()) {
      octavo_view view = *argument.good;
      fault.spoil(view);
      expect_refused(argument.call(&view), fault.code, fault.sentence, argument.name);
      EXPECT_NE(std::string_view(octavo_last_error()).find(argument.name), std::string_view::npos)
          << argument.name << ": " << octavo_last_error();
    }
  }
}

/// Calls a product with one field of its options pointing at the view.
template <class Options>
auto with(const octavo_view* Options::*field, Options defaults,
          std::function<octavo_code(const Options*)> call) {
  return [=](const octavo_view* view) {
    Options options = defaults;
    options.*field = view;
    return call(&options);
  };
}
template <class Options>
auto with(octavo_scale Options::*field, Options defaults,
          std::function<octavo_code(const Options*)> call) {
  return [=](const octavo_view* view) {
    Options options = defaults;
    options.*field = octavo_scale_tensor(view, OCTAVO_AUTOMATIC);
    return call(&options);
  };
}

/// A place for each tensor among the options of an operation.
template <class Options>
std::vector<Argument> options_of(const std::string& operation, const Sample& s,
                                 const std::function<octavo_code(const Options*)>& call) {
  Options defaults{};
  defaults.struct_size = sizeof defaults;
  std::vector<Argument> arguments;
  each_tensor(defaults, [&](const std::string& name, auto field) {
    const bool integers = name.starts_with("azp") || name == "offs";
    const octavo_view* good = integers                          ? s.azp
                              : name.starts_with("outlier_col") ? s.columns
                                                                : s.two;
    arguments.push_back({operation + ": options." + name, good, with(field, defaults, call)});
  });
  return arguments;
}

}  // namespace octavo::test
