// SPDX-License-Identifier: Apache-2.0
// The AVX-512 backend: dot products of 8-bit integers, with VNNI where there is one.
#pragma once

#include "backends/backend.hpp"

namespace octavo {

extern const Backend kAvx512Backend;

}  // namespace octavo
