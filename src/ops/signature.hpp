// SPDX-License-Identifier: Apache-2.0
// The signature of a problem: all that a plan may read of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "backends/backend.hpp"
#include "octavo/packed.hpp"
#include "octavo/problem.hpp"

namespace octavo {

struct Signature {
  std::size_t word_count = 0, byte_count = 0;
  std::uint64_t hash = 0;
  std::array<std::int64_t, 144> words;  // so many of them
  std::array<std::uint8_t, 192> bytes;

  Signature() noexcept {}  // NOLINT: leaves the arrays as they are
  friend bool operator==(const Signature& a, const Signature& b) noexcept;
};

/// The signature of a problem run by `threads` threads, forced to a backend of that registry index
/// (-1: not forced). None for lists, whose members have no end.
std::optional<Signature> signature(const MatmulProblem& problem, int threads,
                                   std::int64_t forced) noexcept;

/// A problem as backends are asked about it: what its signature tells, without memory. Addresses
/// are null or fault when they are read, numbers are 0, 1 or -1; so a plan cannot depend on what is
/// not in the signature. A problem without one is shown as it is, and its plan is not kept.
class Outline {
 public:
  Outline(const std::optional<Signature>& signature, const MatmulProblem& problem) noexcept;
  Outline(const Outline&) = delete;
  Outline& operator=(const Outline&) = delete;
  const MatmulProblem& problem() const noexcept { return shown_ != nullptr ? *shown_ : problem_; }

 private:
  const MatmulProblem* shown_ = nullptr;
  MatmulProblem problem_;
  // Of either operand.
  std::array<ActivationQuant, 2> rules_;
  std::array<PackedWeightData, 2> contents_;
  std::array<PackedWeight, 2> packed_;
};

}  // namespace octavo
