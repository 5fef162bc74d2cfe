// SPDX-License-Identifier: Apache-2.0
// What section 11 promises, asked of ranks that any engine brings.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/parallel.hpp"

namespace octavo::test {

/// A random layer and its whole counterpart, from a seed that all ranks share. Empty, or what
/// differs, with the layer in words. Every rank calls it.
std::string check_random_layer(const std::shared_ptr<Communicator>& ranks, std::uint64_t seed);

/// How many kinds of layers there are: seeds 0, 1, ... have one after the other.
int layer_kinds();

}  // namespace octavo::test
