// SPDX-License-Identifier: Apache-2.0
// Experts on ranks against fused_experts, asked of ranks that any engine brings.
#pragma once

#include <cstdint>
#include <string>

#include "octavo/parallel.hpp"

namespace octavo::test {

/// Random experts, and random tokens of each rank, from a seed that all ranks share. Empty, or what
/// differs, with the experts in words. Every rank calls it.
std::string check_random_experts(const std::shared_ptr<Communicator>& ranks, std::uint64_t seed);

/// How many kinds of experts there are: seeds 0, 1, ... have one after the other.
int expert_kinds();

}  // namespace octavo::test
