// SPDX-License-Identifier: Apache-2.0
// The loops around the int8 dot-product tiles.
#pragma once

#include "backends/arena.hpp"
#include "backends/backend.hpp"
#include "backends/cpu/kernels/int8.hpp"

namespace octavo::cpu {

/// The longest sum that stays in int32 whatever the codes are: 65536 * 255 * 128 < 2^31.
inline constexpr std::int64_t kMostDotDepth = 65536;

/// Runs one member (A int8 or uint8, B int8, scales constant along K, K <= kMostDotDepth), or with
/// a counting arena only reserves its workspace. Sums are exact.
void run_dot_member(const DotKernels& kernels, const Member& member, const MatmulOptions& options,
                    const ExecContext& context, Arena& arena) noexcept;

}  // namespace octavo::cpu
