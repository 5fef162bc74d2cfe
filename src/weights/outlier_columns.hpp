// SPDX-License-Identifier: Apache-2.0
// Lists of columns that LLM.int8() keeps in float: checked, as tensors, united.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "octavo/export.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The list of a layer with K columns, int64 [count]; undefined for an empty one. `what` begins the
/// sentence. Throws Error (`code`) unless it ascends in [0, k).
OCTAVO_INTERNAL_API Tensor outlier_column_tensor(Code code, std::string_view what,
                                                 std::span<const std::int64_t> columns,
                                                 std::int64_t k);

/// The elements of such a tensor; none for an undefined one.
OCTAVO_INTERNAL_API std::span<const std::int64_t> outlier_column_list(const Tensor& columns);

}  // namespace octavo
