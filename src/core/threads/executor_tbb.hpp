// SPDX-License-Identifier: Apache-2.0
// The oneTBB executor, where it was built.
#pragma once

#include "octavo/context.hpp"

namespace octavo {

/// oneTBB threads limited by OCTAVO_NUM_THREADS; null in a build without oneTBB.
Executor* tbb_executor() noexcept;

}  // namespace octavo
