// SPDX-License-Identifier: Apache-2.0
// What a norm and an activation function with a quantiser behind them share.
#pragma once

#include "backends/passes.hpp"
#include "octavo/quantize.hpp"
#include "ops/site.hpp"

namespace octavo {

/// Codes of the `columns` that the problem's rows of `x` become, by options that are checked here.
Result<Quantized> quantized_rows(const Site& site, QuantizeRowsProblem problem, const MatrixView& x,
                                 std::int64_t columns, const QuantizeOptions& options,
                                 const char* backend, const ExecContext& context);

}  // namespace octavo
