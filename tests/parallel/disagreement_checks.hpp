// SPDX-License-Identifier: Apache-2.0
// What ranks are told when one of them calls otherwise, asked of ranks that any engine brings.
#pragma once

#include <memory>
#include <string>

#include "octavo/parallel.hpp"

namespace octavo::test {

/// For each argument of each call of a layer: rank `other` brings another one, or one that cannot
/// be. Empty, or what was not told on all ranks, or went on. Every rank calls it.
std::string check_disagreements(const std::shared_ptr<Communicator>& ranks, int other);

}  // namespace octavo::test
