// SPDX-License-Identifier: Apache-2.0
// A matrix from the columns that ranks have of it.
#pragma once

#include <cstdint>
#include <span>

#include "octavo/parallel.hpp"

namespace octavo {

/// All of a matrix on every rank; `own` [M, ends[r] - ends[r - 1]] are the columns of rank r, in
/// memory of the host.
Tensor gather_columns(Communicator& ranks, const TensorView& own,
                      std::span<const std::int64_t> ends);

}  // namespace octavo
