// SPDX-License-Identifier: Apache-2.0
// octavo bench on a line of a quantiser.
#pragma once

#include <string>

#include "kit/measure.hpp"

namespace octavo::cli {

/// What is wanted of a line.
enum class QuantizeVerb : std::uint8_t { time, check, list };

/// Times, checks or lists a quantiser and prints the result; returns an exit code.
int bench_quantize(const std::string& line, QuantizeVerb verb, const kit::MeasureOptions& options,
                   bool json);

}  // namespace octavo::cli
