// SPDX-License-Identifier: Apache-2.0
// Memory between pages that cannot be touched: a read or write outside it ends the test.
#pragma once

#include "kit/operands/operands.hpp"

namespace octavo::test {

enum class GuardedSide : std::uint8_t {
  left,   ///< the block begins at a page's first byte
  right,  ///< the block ends at a page's last byte (whatever alignment that gives)
};

/// An allocator whose blocks stand between two pages without access.
kit::Allocator guarded(GuardedSide side);

}  // namespace octavo::test
