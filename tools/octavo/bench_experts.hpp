// SPDX-License-Identifier: Apache-2.0
// octavo bench on a line of fused experts.
#pragma once

#include <string>

#include "bench_quantize.hpp"
#include "kit/measure.hpp"

namespace octavo::cli {

/// Times, checks or lists fused experts and prints the result; returns an exit code.
int bench_experts(const std::string& line, QuantizeVerb verb, const kit::MeasureOptions& options,
                  bool json);

}  // namespace octavo::cli
