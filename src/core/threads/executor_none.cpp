// SPDX-License-Identifier: Apache-2.0
// The answer of a build without oneTBB.
#include "core/threads/executor_tbb.hpp"

namespace octavo {

Executor* tbb_executor() noexcept { return nullptr; }

}  // namespace octavo
