// SPDX-License-Identifier: Apache-2.0
// bitsandbytes: rows with their absolute maximum, in row order or in one of three tiled ones.
#include <algorithm>
#include <span>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/dialects/tiled_codes.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "core/fp_env.hpp"
#include "weights/outlier_columns.hpp"

namespace octavo::checkpoint {
namespace {

CodeOrder code_order(const Layer& layer) {
  const std::string name = layer.name(".weight_format");
  if (!layer.file.contains(name)) return CodeOrder::row;
  const std::vector<std::byte> bytes = layer.file.bytes(name);
  const int value = bytes.size() == 1 ? std::to_integer<int>(bytes[0]) : -1;
  if (value < 0 || value >= kCodeOrders) {
    refuse(
        Code::unsupported,
        "Checkpoint::weight: tensor {} must be one byte: 0 (row), 1 (col32), 2 (col_turing) or 3 "
        "(col_ampere); got {}",
        in_quotes(name),
        value < 0 ? fmt::format("{} bytes", bytes.size()) : fmt::format("{}", value));
  }
  return static_cast<CodeOrder>(value);
}

// Tiled codes have padded extents. SCB tells N; that K ends with the padding is certain only where
// the last column holds something, since padding is zero.
void check_columns(const Layer& layer, const Tensor& rows, CodeOrder order) {
  const std::int64_t k = rows.size(1);
  const std::span codes(rows.data_as<std::int8_t>(), static_cast<std::size_t>(rows.numel()));
  std::int64_t used = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] != 0) used = std::max(used, static_cast<std::int64_t>(i) % k + 1);
  }
  if (used == k) return;
  refuse(Code::unsupported,
         "Checkpoint::weight: tensor {} must have a code other than 0 in its last column, since "
         "order {} pads K to a multiple of {} and K is stored nowhere; got zeros from column {} of "
         "{} on: save the model again with bitsandbytes 0.45 or newer",
         in_quotes(layer.name(".weight")), order_name(order), kPanelColumns, used, k);
}

/// The codes row by row.
Tensor in_rows(const Layer& layer, const Tensor& absmax) {
  const CodeOrder order = code_order(layer);
  if (order == CodeOrder::row) return layer.matrix();
  Layer read = layer;
  read.in_place = nullptr;
  const Tensor codes = read.matrix();
  const std::int64_t n = absmax.numel();
  const std::int64_t rows = cells(n, tile_rows(order)) * tile_rows(order);
  if (codes.size(0) != rows || codes.size(1) % kPanelColumns != 0) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::weight: tensor {}.shape must be [{}, a multiple of {}] for {} rows in order "
        "{}; got {}",
        in_quotes(layer.name(".weight")), rows, kPanelColumns, n, order_name(order),
        shape_string(codes));
  }
  Tensor untiled = row_major(order, codes, n);
  check_columns(layer, untiled, order);
  return untiled;
}

ActivationQuant rule_of(const Layer& layer, std::int64_t k) {
  ActivationQuant rule = llm_int8_rule(layer.config.outlier_threshold.value_or(kOutlierThreshold));
  rule.whole_columns = layer.config.whole_columns;
  rule.outlier_columns = outlier_column_tensor(
      Code::corrupt_data,
      fmt::format("Checkpoint::weight: '{}'.llm_int8_outlier_columns of layer {}", kConfigKey,
                  in_quotes(layer.prefix)),
      layer.config.outlier_columns, k);
  return rule;
}

}  // namespace

// SCB is the rows' absolute maximum: value = code * (SCB / 127), the quotient in float32.
Weight read_bitsandbytes(const Layer& layer) {
  constexpr float kQmax = 127.0F;
  const Tensor scb = layer.tensor(layer.dialect.scale);
  const Tensor codes = in_rows(layer, scb);
  Layer rows = layer;
  rows.config.grid = kRowGrid;  // whatever is declared
  const Tensor scale = wide_scale(layer, scb, codes, grid_of(rows, codes, scb, {}));
  const std::int64_t n = codes.size(0);
  const Tensor absmax = Tensor::empty(DType::float32, {n});
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < n; ++i) {
    absmax.data_as<float>()[i] = scale.data_as<float>()[i];
    scale.data_as<float>()[i] /= kQmax;
  }
  Weight weight;  // not one aggregate: g++ 12 destroys members twice where a later one throws
  weight.activation = rule_of(layer, codes.size(1));
  weight.codes = {codes, scale, kRowGrid, {}};
  weight.scheme = std::string("llm-int8");
  weight.absmax = absmax;
  return weight;
}

}  // namespace octavo::checkpoint
