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

struct LayerSize {
  std::int64_t m, n, k;
};

/// The same of a layer of that size whose ranks add the sums of chunks of K.
std::string check_layer_of_chunks(const std::shared_ptr<Communicator>& ranks,
                                  const LayerSize& size);

/// How many kinds of layers there are: seeds 0, 1, ... have one after the other.
int layer_kinds();

}  // namespace octavo::test
