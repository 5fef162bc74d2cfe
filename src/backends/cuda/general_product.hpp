// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "backends/passes.hpp"
namespace octavo::cuda {
Status run_general(const Member& member, const MatmulOptions& options, const Place& place) noexcept;
}
