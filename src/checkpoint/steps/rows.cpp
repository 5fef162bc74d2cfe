// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/rows.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/safetensors/dtype.hpp"
#include "checkpoint/steps/smooth.hpp"
#include "checkpoint/text/sentence.hpp"
#include "octavo/context.hpp"
#include "octavo/quantize.hpp"
#include "octavo/rotate.hpp"

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

/// "[3, 7]", of the element of that number.
std::string index_text(const std::vector<std::int64_t>& shape, std::int64_t element) {
  std::vector<std::int64_t> index(shape.size());
  for (std::size_t i = shape.size(); i-- > 0; element /= shape[i]) index[i] = element % shape[i];
  return shape_text(index);
}

}  // namespace

DType dtype_before(const LayerPlan& layer) {
  return layer.values ? DType::float32 : dtype_of_name(layer.entry->dtype);
}

std::int64_t rows_of_piece(const LayerPlan& layer) {
  if (layer.values) return std::max<std::int64_t>(1, layer.at.n);
  const std::int64_t block = layer.recipe->grid.rows;
  const std::int64_t element = element_bytes(dtype_before(layer));
  const std::int64_t bytes = std::max<std::int64_t>(1, block * layer.at.k * element);
  const std::int64_t least = (least_rows(layer.at, element) + block - 1) / block;
  return std::max({std::int64_t{1}, kPieceBytes / bytes, least}) * block;
}

void add_128(const Tensor& codes) noexcept {
  auto* bytes = codes.data_as<std::uint8_t>();
  for (std::int64_t i = 0; i < codes.numel(); ++i) bytes[i] ^= 0x80U;
}

Tensor weight_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                   std::int64_t rows) {
  const Tensor stored = layer.values
                            ? layer.values->make()
                            : read_matrix(in, *layer.entry, rows_of(layer.at, first, rows));
  if (layer.smooth == nullptr) return stored;
  const Tensor smoothed = copy(stored, DType::float32);
  auto* value = smoothed.data_as<float>();
  for (std::int64_t i = 0; i < smoothed.size(0); ++i) {
    for (const float factor : layer.smooth->values()) *value++ *= factor;
  }
  return smoothed;
}

QuantizedRows quantize_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                            std::int64_t rows, const char* operation) {
  return quantize_rows(in, layer, first, weight_rows(in, layer, first, rows), operation);
}

QuantizedRows quantize_rows(const Checkpoint::Impl& in, const LayerPlan& layer, std::int64_t first,
                            const Tensor& weight, const char* operation) {
  const TensorEntry& entry = *layer.entry;
  QuantizedRows made;
  const ExecContext serial{.executor = &serial_executor()};
  Tensor rotated;
  if (layer.rotation != 0) {
    rotated = rotate(weight, {.block = layer.rotation, .out_dtype = DType::float32}, serial);
  }
  made.written = layer.recipe->quantize(rotated.defined() ? rotated : weight, &made.errors, serial);
  made.bytes = weight.numel() * element_bytes(dtype_before(layer));
  if (made.errors.finite) return made;
  const char* const smoothed = layer.smooth != nullptr ? " times its smoothing factors"
                               : layer.rotation != 0   ? " before and after its rotation"
                                                       : "";
  if (layer.values || layer.rotation != 0) {
    refuse(Code::corrupt_data, "{}: the weight of layer {} must be finite{}; got NaN or infinity",
           operation, in_quotes(layer.name), smoothed);
  }
  const auto [i, j] = not_finite(weight);
  const std::int64_t element =
      layer.at.begin + (first + i) * layer.at.row_step + j * layer.at.column_step;
  refuse(Code::corrupt_data, "{}: tensor {} must be finite{}; got NaN or infinity at {} (file {})",
         operation, in_quotes(entry.name), smoothed, index_text(entry.shape, element),
         in_quotes(in.files[entry.file].name));
}

}  // namespace octavo::checkpoint
