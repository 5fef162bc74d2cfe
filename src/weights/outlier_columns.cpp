// SPDX-License-Identifier: Apache-2.0
#include "weights/outlier_columns.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace octavo {

Tensor outlier_column_tensor(Code code, std::string_view what,
                             std::span<const std::int64_t> columns, std::int64_t k) {
  if (columns.empty()) return {};
  std::int64_t before = -1;
  for (const std::int64_t column : columns) {
    if (column <= before || column >= k) {
      refuse(code, "{} must ascend in [0, {}); got {}{}", what, k, column,
             before < 0 ? "" : fmt::format(" behind {}", before));
    }
    before = column;
  }
  Tensor list = Tensor::empty(DType::int64, {static_cast<std::int64_t>(columns.size())});
  std::ranges::copy(columns, list.data_as<std::int64_t>());
  return list;
}

std::span<const std::int64_t> outlier_column_list(const Tensor& columns) {
  if (!columns.defined()) return {};
  return {columns.data_as<std::int64_t>(), static_cast<std::size_t>(columns.numel())};
}

}  // namespace octavo
