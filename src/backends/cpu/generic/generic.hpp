// SPDX-License-Identifier: Apache-2.0
// The generic CPU backend: portable C++, blocked and threaded, on any machine.
#pragma once

#include "backends/backend.hpp"

namespace octavo {

extern const Backend kGenericBackend;

}  // namespace octavo
