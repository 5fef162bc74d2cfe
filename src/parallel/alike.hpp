// SPDX-License-Identifier: Apache-2.0
// What all ranks of a layer, or of a call, have to bring alike. It is the first thing that they say
// to each other, in a message of one size for all layers and calls: ranks that do different things,
// or one of which cannot go on, all hear of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "octavo/parallel.hpp"
#include "octavo/status.hpp"

namespace octavo {

/// A property of what a rank brings, in words.
struct Trait {
  const char* name;
  std::string words;
};

/// The most of them that a message has room for.
inline constexpr std::size_t kMostTraits = 13;

/// Throws Error on all ranks where one of them cannot go on (`own` is its failure), calls something
/// else than rank 0, or has other words. The library's version is compared, too.
void check_alike(const char* operation, const char* call, Communicator& ranks, const Status& own,
                 std::span<const Trait> traits);

/// The failure of a function that throws Error.
template <class Body>
Status status_of(const Body& body) {
  try {
    body();
    return {};
  } catch (const Error& error) {
    return error.status();
  }
}

/// A tensor's extents but the last one, in words.
std::string leading_words(const TensorView& view);

/// Presence and type of a tensor, in words.
std::string type_words(const TensorView& view);

/// The options that all products of a call share, in words.
std::string options_words(const MatmulOptions& options);

/// An activation rule in words, with a checksum of all its fields.
std::string rule_words(const std::optional<ActivationQuant>& rule);

/// What of a weight all ranks have.
enum class Shared : std::uint8_t {
  whole,    ///< all of it
  scales,   ///< of a part by rows: what is constant along K
  nothing,  ///< of a part by columns: no values
};

/// The same of a linear layer, by its extents that all ranks have: types, rules and options in
/// words, values by the checksum of what all ranks have (of codes of some rows alone: another model
/// differs in each).
void check_weights_alike(const char* operation, Communicator& ranks, const Status& own,
                         const Weight& weight, Shared shared, const TensorView& bias,
                         const ParallelOptions& options);

}  // namespace octavo
