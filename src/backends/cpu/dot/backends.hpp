// SPDX-License-Identifier: Apache-2.0
// The backends of dot-product instructions, one for each kind of vector registers. Each is the best
// machine that the CPU has in them (dot/machines.cpp); all of them share layouts of packed weights.
#pragma once

#include "backends/backend.hpp"

namespace octavo {

extern const Backend kAvx512Backend;
extern const Backend kAvx2Backend;
extern const Backend kSveBackend;
extern const Backend kNeonBackend;

}  // namespace octavo
