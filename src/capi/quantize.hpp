// SPDX-License-Identifier: Apache-2.0
// The options of quantisers, which gradients take as well.
#pragma once

#include "capi/convert.hpp"
#include "octavo/quantize.hpp"

namespace octavo::capi {

QuantizeOptions quantize_options(const Place& place, const octavo_quantize_options* given);

}  // namespace octavo::capi
