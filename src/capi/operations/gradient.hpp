// SPDX-License-Identifier: Apache-2.0
// Which gradients are wanted, and where they go: a table for each struct of results.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <utility>

#include "capi/convert.hpp"
#include "octavo/gradient.hpp"

namespace octavo::capi {

/// One gradient: its bit of `wanted`, its field in the caller's struct and in C++'s.
template <class Given, class Gradients, class Wanted>
struct GradientPart {
  FlagName want;
  octavo_tensor* Given::*to;
  Tensor Gradients::*from;
  bool Wanted::*wanted;
};

/// The rows of a struct of results.
template <class Given, class Gradients, class Wanted, std::size_t n>
using GradientParts = std::array<GradientPart<Given, Gradients, Wanted>, n>;

/// What the bits ask for; bits of other arguments are refused.
template <class Given, class Gradients, class Wanted, std::size_t n>
Wanted wanted_from(const ArgumentPath& options,
                   const GradientParts<Given, Gradients, Wanted, n>& parts, std::uint64_t bits) {
  std::array<FlagName, n> names{};
  std::uint64_t allowed = 0;
  Wanted wanted;
  for (std::size_t i = 0; i < n; ++i) {
    names[i] = parts[i].want;
    allowed |= parts[i].want.flag;
    wanted.*parts[i].wanted = (bits & parts[i].want.flag) != 0;
  }
  check_bits(options.of("wanted"), bits, allowed, names);
  return wanted;
}

/// A struct of results of the caller: all NULL until `fill`, so that a failure leaves NULL behind.
template <class Given, class Gradients, class Wanted, std::size_t n>
class GradientSlots {
 public:
  using Parts = GradientParts<Given, Gradients, Wanted, n>;

  GradientSlots(const ArgumentPath& place, const Parts& parts, Given* result)
      : parts_(parts), result_(result) {
    write_struct(place, Given{}, result);
  }

  /// Makes the handles before the work, so that work that was done is never lost.
  void prepare(const ArgumentPath& place, const Wanted& wanted) {
    for (std::size_t i = 0; i < n; ++i) {
      if (!(wanted.*parts_[i].wanted)) continue;
      slots_[i].emplace(place, &(result_->*parts_[i].to));
    }
  }

  /// A gradient that is wanted but not there (that of a list's entry) stays NULL.
  void fill(Gradients gradients) noexcept {
    for (std::size_t i = 0; i < n; ++i) {
      Tensor& gradient = gradients.*parts_[i].from;
      if (slots_[i] && gradient.defined()) slots_[i]->fill(std::move(gradient));
    }
  }

 private:
  const Parts& parts_;
  Given* result_;
  std::array<std::optional<Slot<octavo_tensor>>, n> slots_;
};

}  // namespace octavo::capi
