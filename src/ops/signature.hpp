// SPDX-License-Identifier: Apache-2.0
// The signature of a single product: everything a choice of kernel may depend on, no pointers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "octavo/problem.hpp"

namespace octavo {

struct Signature {
  std::array<std::int64_t, 160> words{};
  std::size_t count = 0;
  std::uint64_t hash = 0;

  friend bool operator==(const Signature& a, const Signature& b) noexcept;
};

/// The signature of an ungrouped problem run by `threads` threads, forced to a backend of that
/// registry index (-1: not forced). None for grouped problems: their members depend on offsets.
std::optional<Signature> signature(const MatmulProblem& problem, int threads,
                                   std::int64_t forced) noexcept;

}  // namespace octavo
