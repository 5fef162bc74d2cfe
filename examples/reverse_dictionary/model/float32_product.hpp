// SPDX-License-Identifier: Apache-2.0
// The float32 baseline on another library, where the build asks for one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace reverse_dictionary {

/// y [rows, outputs] = x [rows, inputs] times the transposed weight [outputs, inputs], plus the
/// bias. False, with y untouched, where there is no such library: Octavo multiplies then.
bool float32_product(const float* x, std::int64_t rows, std::int64_t inputs, const float* weight,
                     std::span<const float> bias, float* y);

/// Whose float32 products these are: kOctavo, or the library's name and version.
std::string float32_library();
inline constexpr const char* kOctavo = "Octavo";

}  // namespace reverse_dictionary
