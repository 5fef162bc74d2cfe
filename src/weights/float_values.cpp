// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/error.hpp"
#include "octavo/context.hpp"
#include "octavo/rotate.hpp"
#include "octavo/weight.hpp"

namespace octavo {
namespace {

// A slice of an act-order weight has columns of the whole.
void check_order(const Weight& weight) {
  const std::int64_t k = weight.codes.data.size(1);
  const auto* columns = weight.columns.data_as<std::int64_t>();
  const bool own = weight.columns.numel() == k &&
                   std::all_of(columns, columns + k, [k](std::int64_t j) { return j < k; });
  if (own) return;
  refuse(Code::invalid_argument,
         "float_values: weight.columns must be those of a whole weight, {} in some "
         "order; got a part of an order along K",
         k);
}

Tensor values_of(const Weight& weight, DType dtype) {
  if (weight.columns.defined()) check_order(weight);
  const ExecContext serial{.executor = &serial_executor()};
  const std::int32_t block = weight.activation ? weight.activation->rotation : 0;
  const DType stored = block != 0 ? DType::float32 : dtype;
  Tensor values = weight.codes.scale.defined() ? dequantize(weight.codes, stored, serial)
                                               : copy(weight.codes.data, stored);
  if (block != 0) values = rotate(values, {.block = block, .out_dtype = dtype}, serial);
  if (!weight.columns.defined()) return values;
  const std::int64_t n = values.size(0), k = values.size(1);
  const Tensor ordered = Tensor::empty(dtype, {n, k});
  const auto bytes = static_cast<std::size_t>(element_bytes(dtype));
  const auto* columns = weight.columns.data_as<std::int64_t>();
  const auto* from = values.data_as<std::byte>();
  auto* to = ordered.data_as<std::byte>();
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      const auto target = static_cast<std::size_t>(i * k + columns[j]) * bytes;
      std::copy_n(from + static_cast<std::size_t>(i * k + j) * bytes, bytes, to + target);
    }
  }
  return ordered;
}

}  // namespace

Tensor float_values(const Weight& weight, DType dtype) {
  return at_edge("float_values", [&] { return values_of(weight, dtype); });
}

}  // namespace octavo
