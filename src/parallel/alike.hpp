// SPDX-License-Identifier: Apache-2.0
// What all ranks of a layer have to bring alike.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "octavo/parallel.hpp"

namespace octavo {

/// A property of what a rank brings, in words.
struct Trait {
  const char* name;
  std::string words;
};

/// Throws Error (invalid_argument), on all ranks, where one of them has other words than rank 0.
/// The library's version is compared, too. As many traits on all ranks.
void check_alike(const char* operation, Communicator& ranks, std::span<const Trait> traits);

/// An activation rule in words, with a checksum of all its fields.
std::string rule_words(const std::optional<ActivationQuant>& rule);

/// What of a weight all ranks have.
enum class Shared : std::uint8_t {
  whole,    ///< all of it
  scales,   ///< of a part by rows: what is constant along K
  nothing,  ///< of a part by columns: no values
};

/// The same of a linear layer of shape [N, K]: types, rules and options in words, values by the
/// checksum of what all ranks have (of codes of some rows alone: another model differs in each).
void check_weights_alike(const char* operation, Communicator& ranks, const Weight& weight,
                         const std::array<std::int64_t, 2>& shape, Shared shared,
                         const TensorView& bias, const ParallelOptions& options);

}  // namespace octavo
