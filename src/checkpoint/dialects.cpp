// SPDX-License-Identifier: Apache-2.0
// Dialects: how each tool writes a quantised linear layer, one row each, read into one Weight.
#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "checkpoint/impl.hpp"
#include "checkpoint/layer_filter.hpp"
#include "checkpoint/outlier_columns.hpp"
#include "checkpoint/quantization_config.hpp"
#include "checkpoint/safetensors_dtype.hpp"
#include "checkpoint/sentence.hpp"
#include "checkpoint/tiled_codes.hpp"
#include "core/cells.hpp"
#include "core/fp_env.hpp"

namespace octavo {
namespace {

using namespace checkpoint;

/// A layer whose dialect has been recognised.
struct Layer {
  const Checkpoint& file;
  std::string prefix;
  LayerConfig config;
  Tensor codes;       ///< [N, K]
  std::string scale;  ///< the name of its scale tensor

  std::int64_t n() const noexcept { return codes.size(0); }
  std::int64_t k() const noexcept { return codes.size(1); }
};

bool is_int8(DType dtype) noexcept { return dtype == DType::int8; }
bool is_code(DType dtype) noexcept { return is_int8(dtype) || is_float8(dtype); }

/// The scale holds one element per cell of `grid`; dimensions of one element may be
/// left out, as [N] for [N, 1] and [] or [1] for [1, 1].
bool fits(const TensorView& scale, const ScaleGrid& grid, const Layer& layer) {
  const std::int64_t rows = cells(layer.n(), grid.rows);
  const std::int64_t cols = cells(layer.k(), grid.cols);
  if (scale.rank == 2) return scale.shape[0] == rows && scale.shape[1] == cols;
  const bool vector = grid.cols == kWholeExtent;
  const bool number = vector && grid.rows == kWholeExtent;
  return (scale.rank == 1 && vector && scale.shape[0] == rows) || (scale.rank == 0 && number);
}

/// The readings of a scale whose granularity nobody declares, the first that fits. Where two fit,
/// they mean the same: the shapes then differ in extents of one cell only.
constexpr std::array<ScaleGrid, 4> kUndeclaredGrids{{
    {1, kWholeExtent},
    {kWholeExtent, kWholeExtent},
    {kBlock, kBlock},
    {1, kBlock},
}};

ScaleGrid grid_of(const Layer& layer, const TensorView& scale,
                  std::span<const ScaleGrid> readings) {
  for (const ScaleGrid& grid : readings) {
    if (fits(scale, grid, layer)) return grid;
  }
  std::string allowed;
  for (const ScaleGrid& grid : readings) {
    allowed += fmt::format("{}[{}, {}]", allowed.empty() ? "" : " or ", cells(layer.n(), grid.rows),
                           cells(layer.k(), grid.cols));
  }
  refuse(Code::corrupt_data,
         "Checkpoint::weight: tensor {}.shape must be {} for the weight {}; got {} (metadata "
         "'{}' declares other granularities)",
         in_quotes(layer.scale), allowed, shape_string(layer.codes), shape_string(scale),
         kConfigKey);
}

ScaleGrid declared_or(const Layer& layer, const TensorView& scale,
                      std::span<const ScaleGrid> undeclared) {
  if (layer.config.grid) return grid_of(layer, scale, std::span(&*layer.config.grid, 1));
  return grid_of(layer, scale, undeclared);
}

/// The scales as stored, widened exactly to float32, one per cell of the grid.
Tensor scale_tensor(const Layer& layer, const Tensor& stored, const ScaleGrid& grid) {
  const bool number = is_wide(stored.dtype()) || stored.dtype() == DType::float8_e8m0fnu;
  if (!number) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {}.dtype must be F32, BF16, F16 or F8_E8M0; got {}",
           in_quotes(layer.scale), name(stored.dtype()));
  }
  const Tensor wide = copy(stored, DType::float32);
  const TensorView matrix(wide.data(), DType::float32,
                          {cells(layer.n(), grid.rows), cells(layer.k(), grid.cols)});
  return Tensor::adopt(std::make_shared<Tensor>(wide), matrix);
}

// Codes with zero points are outside the canonical form; all-zero ones change nothing.
void check_symmetric(const Layer& layer) {
  const std::string zero_points = layer.prefix + ".weight_zero_point";
  if (!layer.file.contains(zero_points)) return;
  const std::vector<std::byte> bytes = layer.file.bytes(zero_points);
  if (std::ranges::any_of(bytes, [](std::byte b) { return b != std::byte{0}; })) {
    refuse(Code::unsupported,
           "Checkpoint::weight: tensor {} must be all zero, since weights are symmetric; got zero "
           "points: quantise again with symmetric weights",
           in_quotes(zero_points));
  }
}

// The one element of a tensor beside the weight.
Tensor read_number(const Layer& layer, const std::string& name, DType dtype) {
  const Tensor stored = layer.file.tensor(name);
  if (stored.numel() != 1) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must have one element; got {}",
           in_quotes(name), shape_string(stored));
  }
  return copy(stored, dtype);
}

// The rule with the file's static scale and zero point, where activations are static.
std::optional<ActivationQuant> with_input_scale(const Layer& layer,
                                                std::optional<ActivationQuant> rule) {
  const std::string scale = layer.prefix + ".input_scale";
  const std::string azp = layer.prefix + ".input_zero_point";
  const bool there = layer.file.contains(scale);
  if (!rule || !layer.config.static_activations.value_or(there)) return rule;
  if (!there) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be there, since '{}' says that activations "
           "are static; got none",
           in_quotes(scale), kConfigKey);
  }
  rule->static_scale = *read_number(layer, scale, DType::float32).data_as<float>();
  if (!(rule->static_scale > 0.0F) || std::isinf(rule->static_scale)) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be a finite number above 0; got {}",
           in_quotes(scale), rule->static_scale);
  }
  rule->spec.granularity = per_tensor();
  if (rule->spec.azp && layer.file.contains(azp)) {
    rule->static_azp = *read_number(layer, azp, DType::int32).data_as<std::int32_t>();
  }
  return rule;
}

Weight read_compressed_int8(const Layer& layer) {
  check_symmetric(layer);
  const Tensor stored = layer.file.tensor(layer.scale);
  const ScaleGrid grid = declared_or(layer, stored, kUndeclaredGrids);
  return {.codes = {layer.codes, scale_tensor(layer, stored, grid), grid, {}},
          .activation = with_input_scale(
              layer, layer.config.activation.value_or(per_token_rule(DType::int8))),
          .scheme = "int8-dynamic"};
}

// Activations follow the weight: in groups of the same length where K is cut, per token where not.
Weight fp8_weight(const Layer& layer, std::span<const ScaleGrid> undeclared) {
  const Tensor stored = layer.file.tensor(layer.scale);
  const ScaleGrid grid = declared_or(layer, stored, undeclared);
  const bool whole_k = grid.cols == kWholeExtent;
  const ActivationQuant rule =
      whole_k ? per_token_rule(DType::float8_e4m3fn) : group_rule(DType::float8_e4m3fn, grid.cols);
  return {.codes = {layer.codes, scale_tensor(layer, stored, grid), grid, {}},
          .activation = with_input_scale(layer, layer.config.activation.value_or(rule)),
          .scheme = whole_k ? "fp8-dynamic" : "fp8-block"};
}

Weight read_fp8(const Layer& layer) { return fp8_weight(layer, kUndeclaredGrids); }

// A multiplier, despite "_inv".
Weight read_block_fp8(const Layer& layer) {
  constexpr std::array<ScaleGrid, 1> kDeepSeek{{{kBlock, kBlock}}};
  return fp8_weight(layer, kDeepSeek);
}

CodeOrder code_order(const Layer& layer) {
  const std::string name = layer.prefix + ".weight_format";
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
void check_columns(const Layer& layer, CodeOrder order) {
  const std::span codes(layer.codes.data_as<std::int8_t>(),
                        static_cast<std::size_t>(layer.codes.numel()));
  std::int64_t used = 0;
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] != 0) used = std::max(used, static_cast<std::int64_t>(i) % layer.k() + 1);
  }
  if (used == layer.k()) return;
  refuse(Code::unsupported,
         "Checkpoint::weight: tensor {} must have a code other than 0 in its last column, since "
         "order {} pads K to a multiple of {} and K is stored nowhere; got zeros from column {} of "
         "{} on: save the model again with bitsandbytes 0.45 or newer",
         in_quotes(layer.prefix + ".weight"), order_name(order), kPanelColumns, used, layer.k());
}

/// The layer with its codes row by row.
Layer in_rows(Layer layer, const Tensor& absmax) {
  const CodeOrder order = code_order(layer);
  if (order == CodeOrder::row) return layer;
  const std::int64_t n = absmax.numel();
  const std::int64_t rows = cells(n, tile_rows(order)) * tile_rows(order);
  if (layer.n() != rows || layer.k() % kPanelColumns != 0) {
    refuse(
        Code::corrupt_data,
        "Checkpoint::weight: tensor {}.shape must be [{}, a multiple of {}] for {} rows in order "
        "{}; got {}",
        in_quotes(layer.prefix + ".weight"), rows, kPanelColumns, n, order_name(order),
        shape_string(layer.codes));
  }
  layer.codes = row_major(order, layer.codes, n);
  check_columns(layer, order);
  return layer;
}

ActivationQuant llm_int8_rule_of(const Layer& layer) {
  ActivationQuant rule = llm_int8_rule(layer.config.outlier_threshold.value_or(kOutlierThreshold));
  rule.whole_columns = layer.config.whole_columns;
  rule.outlier_columns = outlier_column_tensor(
      Code::corrupt_data,
      fmt::format("Checkpoint::weight: '{}'.llm_int8_outlier_columns of layer {}", kConfigKey,
                  in_quotes(layer.prefix)),
      layer.config.outlier_columns, layer.k());
  return rule;
}

// SCB is the rows' absolute maximum: value = code * (SCB / 127), the quotient in float32.
Weight read_bitsandbytes(const Layer& stored) {
  constexpr float kQmax = 127.0F;
  constexpr ScaleGrid kRows{1, kWholeExtent};
  const Tensor scb = stored.file.tensor(stored.scale);
  const Layer layer = in_rows(stored, scb);
  const Tensor scale = scale_tensor(layer, scb, grid_of(layer, scb, std::span(&kRows, 1)));
  const Tensor absmax = Tensor::empty(DType::float32, {layer.n()});
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < layer.n(); ++i) {
    absmax.data_as<float>()[i] = scale.data_as<float>()[i];
    scale.data_as<float>()[i] /= kQmax;
  }
  return {.codes = {layer.codes, scale, kRows, {}},
          .activation = llm_int8_rule_of(layer),
          .scheme = "llm-int8",
          .absmax = absmax};
}

struct Dialect {
  std::string_view scale;  ///< the tensor beside "weight" that gives the dialect away
  bool (*codes)(DType) noexcept;
  Weight (*read)(const Layer&);
  bool proof = true;  ///< the name alone says "quantised"; norms have a ".scale", too
};

constexpr std::array<Dialect, 5> kDialects{{
    {"SCB", is_int8, read_bitsandbytes},
    {"weight_scale", is_int8, read_compressed_int8},
    {"weight_scale", is_float8, read_fp8},            // compressed-tensors, vLLM, AutoFP8
    {"weight_scale_inv", is_float8, read_block_fp8},  // Hugging Face, DeepSeek
    {"scale", is_float8, read_block_fp8, false},      // DeepSeek V4, in e8m0
}};

/// The scale tensors of that layer, each once.
std::vector<std::string> scales_beside(const Header& header, std::string_view prefix,
                                       DType weight) {
  std::vector<std::string> found;
  for (const Dialect& dialect : kDialects) {
    std::string scale = fmt::format("{}.{}", prefix, dialect.scale);
    const bool counts = dialect.proof || dialect.codes(weight);
    if (counts && header.find(scale) != nullptr && std::ranges::find(found, scale) == found.end()) {
      found.push_back(std::move(scale));
    }
  }
  return found;
}

/// "a.b" of "a.b.weight_scale"; nothing for a tensor that is no scale.
std::optional<std::string_view> scaled_layer(std::string_view tensor) noexcept {
  const std::size_t dot = tensor.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto dialect = std::ranges::find(kDialects, tensor.substr(dot + 1), &Dialect::scale);
  if (dialect == kDialects.end() || !dialect->proof) return std::nullopt;
  return tensor.substr(0, dot);
}

/// The layer that a tensor of a quantised layer belongs to: its codes or its scale.
std::optional<std::string_view> quantized_layer_of(const TensorEntry& entry) noexcept {
  const auto layer = layer_of(entry.name);
  return layer && is_code(dtype_of_name(entry.dtype)) ? layer : scaled_layer(entry.name);
}

[[noreturn]] void refuse_without_weight(const Header& header, const std::string& weight,
                                        const std::vector<std::string>& scales) {
  if (!scales.empty()) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must have its weight beside it; got no tensor {}",
           in_quotes(scales[0]), in_quotes(weight));
  }
  refuse(Code::invalid_argument, "Checkpoint::weight: prefix must name a layer; got no tensor {}{}",
         in_quotes(weight), nearest_name(header, weight));
}

Tensor read_matrix(const Checkpoint& file, const TensorEntry& entry) {
  if (entry.shape.size() != 2) {
    refuse(Code::invalid_argument,
           "Checkpoint::weight: tensor {}.shape must be 2-D, [N, K]; got {}: read it with tensor()",
           in_quotes(entry.name), shape_text(entry.shape));
  }
  return file.tensor(entry.name);
}

Weight read_plain(const Checkpoint& file, const TensorEntry& entry) {
  const DType dtype = dtype_of_name(entry.dtype);
  if (is_code(dtype)) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} of type {} must have its scale beside it (weight_scale, "
           "weight_scale_inv or SCB); got none",
           in_quotes(entry.name), entry.dtype);
  }
  if (!is_wide(dtype)) {
    refuse(Code::unsupported,
           "Checkpoint::weight: tensor {}.dtype must be F32, F16, BF16, or an 8-bit type with a "
           "scale; got {}",
           in_quotes(entry.name), entry.dtype);
  }
  Weight weight;
  weight.codes.data = read_matrix(file, entry);
  weight.scheme = "none";
  return weight;
}

Weight read_layer(const Checkpoint& file, const Checkpoint::Impl& impl, const std::string& prefix) {
  const Header& header = impl.header;
  const std::string name = prefix + ".weight";
  const TensorEntry* entry = header.find(name);
  const DType dtype = entry == nullptr ? DType::undefined : dtype_of_name(entry->dtype);
  const std::vector<std::string> scales = scales_beside(header, prefix, dtype);
  if (entry == nullptr) refuse_without_weight(header, name, scales);
  if (scales.empty()) return read_plain(file, *entry);
  if (scales.size() > 1) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must have one scale; got {} and {}",
           in_quotes(name), in_quotes(scales[0]), in_quotes(scales[1]));
  }
  for (const Dialect& dialect : kDialects) {
    if (!scales[0].ends_with(fmt::format(".{}", dialect.scale)) || !dialect.codes(dtype)) continue;
    return dialect.read(
        {file, prefix, impl.config().layer(prefix), read_matrix(file, *entry), scales[0]});
  }
  refuse(Code::corrupt_data,
         "Checkpoint::weight: tensor {}.dtype must be an 8-bit type that goes with {}; got {}",
         in_quotes(name), in_quotes(scales[0]), entry->dtype);
}

}  // namespace

Weight Checkpoint::weight(std::string_view prefix) const {
  return at_edge("Checkpoint::weight",
                 [&] { return read_layer(*this, *impl_, std::string(prefix)); });
}

std::vector<std::string> Checkpoint::quantized_layers() const {
  return at_edge("Checkpoint::quantized_layers", [&] {
    std::set<std::string, std::less<>> layers;
    for (const TensorEntry& entry : entries()) {
      if (const auto layer = quantized_layer_of(entry)) layers.emplace(*layer);
    }
    return std::vector<std::string>(layers.begin(), layers.end());
  });
}

PackedWeight pack(const Weight& weight, const char* backend) {
  const Operand stored =
      weight.codes.scale.defined() ? Operand(weight.codes) : Operand(weight.codes.data);
  return pack(stored.transposed(), {.activation = weight.activation, .backend = backend});
}

}  // namespace octavo
