// SPDX-License-Identifier: Apache-2.0
// Floats as blocks of type Q8_0.
#pragma once

#include <cstddef>
#include <span>

#include "octavo/code_errors.hpp"

namespace octavo::checkpoint {

inline constexpr std::size_t kQ8Elements = 32, kQ8Bytes = 34;

/// Whole blocks, by ggml's rule: d = max|x| / 127; codes are x / d, by the reciprocal of d before
/// it is rounded to float16, halves away from zero. Adds what codes lose; values that are not
/// finite, and those whose scale is none in float16, clear `finite`.
void quantize_q8_blocks(std::span<const float> values, std::span<std::byte> blocks,
                        CodeErrors& errors) noexcept;

}  // namespace octavo::checkpoint
