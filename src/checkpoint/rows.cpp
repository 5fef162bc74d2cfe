// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/rows.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>

#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"
#include "octavo/context.hpp"
#include "octavo/quantize.hpp"

namespace octavo::checkpoint {
namespace {

/// The first element that is NaN or infinite: there is one.
std::pair<std::int64_t, std::int64_t> not_finite(const Tensor& rows) {
  const Tensor wide = copy(rows, DType::float32);
  const std::int64_t k = rows.size(1);
  const std::span values(wide.data_as<float>(), static_cast<std::size_t>(wide.numel()));
  const auto found = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
  const auto i = static_cast<std::int64_t>(found - values.begin());
  return {i / k, i % k};
}

}  // namespace

std::int64_t rows_of_piece(const LayerPlan& layer) {
  const std::int64_t block = layer.recipe->grid.rows;
  const std::int64_t bytes = block * layer.k * element_bytes(dtype_of_name(layer.entry->dtype));
  return std::max<std::int64_t>(1, kPieceBytes / std::max<std::int64_t>(1, bytes)) * block;
}

QuantisedRows quantise_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                            std::int64_t rows, const char* operation) {
  const TensorEntry& entry = *layer.entry;
  const Tensor weight =
      Tensor::empty(dtype_of_name(entry.dtype), {std::min(rows, layer.n - first), layer.k});
  const std::int64_t row = layer.first_row + first;
  const std::int64_t bytes = weight.numel() * element_bytes(weight.dtype());
  in.read(entry, row * layer.k * element_bytes(weight.dtype()),
          {weight.data_as<std::byte>(), static_cast<std::size_t>(bytes)});
  QuantisedRows made{layer.recipe->quantise(weight, {.executor = &serial_executor()}), {}, bytes};
  made.errors = code_errors(weight, made.written.codes);
  if (made.errors.finite) return made;
  const auto [i, j] = not_finite(weight);
  refuse(Code::corrupt_data,
         "{}: tensor {} must be finite; got NaN or infinity at [{}, {}] (file {})", operation,
         in_quotes(entry.name), row + i, j, in_quotes(in.files[entry.file].name));
}

}  // namespace octavo::checkpoint
