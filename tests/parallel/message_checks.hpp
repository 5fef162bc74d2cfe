// SPDX-License-Identifier: Apache-2.0
// What ranks say to each other arrives, whatever engine brings it.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/parallel.hpp"

namespace octavo::test {

/// Messages of random sizes from all ranks to all, empty ones among them, from a seed that all
/// ranks share. Empty, or what did not arrive. Every rank calls it.
std::string check_all_to_all(Communicator& ranks, std::uint64_t seed, std::int64_t most_bytes);

}  // namespace octavo::test
