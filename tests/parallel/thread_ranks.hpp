// SPDX-License-Identifier: Apache-2.0
// Ranks that are threads of one process.
#pragma once

#include <functional>

#include "octavo/parallel.hpp"

namespace octavo::test {

/// Runs `body` on that many ranks at once. What the first one throws is thrown here.
void on_ranks(int size, const std::function<void(std::shared_ptr<Communicator>)>& body);

}  // namespace octavo::test
