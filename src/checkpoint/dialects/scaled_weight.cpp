// SPDX-License-Identifier: Apache-2.0
// From codes and scales to the canonical weight: granularity, zero points, activation rule.
#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "core/fp_env.hpp"

namespace octavo::checkpoint {
namespace {

/// One element per cell: [rows, cols], ModelOpt's [rows, 1, cols, 1], or without a dimension of one
/// element as [N] for [N, 1] and [] or [1] for [1, 1].
bool fits(const TensorView& scale, std::int64_t rows, std::int64_t cols) {
  if (scale.rank == 2) return scale.shape[0] == rows && scale.shape[1] == cols;
  if (scale.rank == 4) {
    return scale.shape[0] == rows && scale.shape[1] == 1 && scale.shape[2] == cols &&
           scale.shape[3] == 1;
  }
  if (scale.rank == 0) return rows == 1 && cols == 1;
  // [N], or a convolution's [N, 1, 1]
  return cols == 1 && scale.shape[0] == rows && scale.numel() == rows;
}

bool fits(const TensorView& scale, const TensorView& codes, const ScaleGrid& grid) {
  return fits(scale, cells(codes.shape[0], grid.rows), cells(codes.shape[1], grid.cols));
}

[[noreturn]] void refuse_zero_points(const Layer& layer, std::string_view rule,
                                     std::string_view got) {
  refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must {}; got {}",
         in_quotes(layer.name(layer.dialect.zero_point)), rule, got);
}

bool all_zero(const Tensor& azp) {
  const auto* values = azp.data_as<std::int32_t>();
  return std::all_of(values, values + azp.numel(), [](std::int32_t v) { return v == 0; });
}

/// The zero points as [cells, cells], or none where all are zero.
Tensor checked_zero_points(const Layer& layer, const ScaledCodes& parts, const ScaleGrid& grid) {
  if (!parts.azp.defined()) {
    if (!layer.config.symmetric.value_or(true)) {
      refuse_zero_points(layer,
                         fmt::format("be there, since '{}' says that weights are not "
                                     "symmetric",
                                     kConfigKey),
                         "none");
    }
    return {};
  }
  const std::int64_t rows = cells(parts.codes.size(0), grid.rows);
  const std::int64_t cols = cells(parts.codes.size(1), grid.cols);
  if (!fits(parts.azp, rows, cols)) {
    refuse_zero_points(layer, fmt::format("have shape [{}, {}], as the scale", rows, cols),
                       shape_string(parts.azp));
  }
  if (all_zero(parts.azp)) return {};
  if (is_float8(parts.codes.dtype()))
    refuse_zero_points(layer, "be all zero, since codes are floats", "others");
  if (layer.config.symmetric.value_or(false)) {
    refuse_zero_points(
        layer, fmt::format("be all zero, since '{}' says that weights are symmetric", kConfigKey),
        "others");
  }
  const TensorView matrix(parts.azp.data(), DType::int32, {rows, cols});
  return Tensor::adopt(std::make_shared<Tensor>(parts.azp), matrix);
}

void check_kind(const Layer& layer, const Tensor& codes) {
  if (!layer.config.integers) return;
  if (*layer.config.integers == (codes.dtype() == DType::int8)) return;
  refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must hold {}, as '{}' declares; got {}",
         in_quotes(layer.name(layer.dialect.codes)), *layer.config.integers ? "integers" : "floats",
         kConfigKey, name(codes.dtype()));
}

/// The zero point of static activations: declared, or there without a declaration.
void add_input_zero_point(const Layer& layer, ActivationQuant& rule) {
  const std::string_view suffix = layer.dialect.input_zero_point;
  if (!layer.has(suffix)) {
    if (rule.spec.azp) {
      refuse(Code::corrupt_data,
             "Checkpoint::weight: tensor {} must be there, since '{}' says that activations are "
             "not symmetric; got none",
             in_quotes(layer.name(suffix)), kConfigKey);
    }
    return;
  }
  const std::int32_t azp = *read_number(layer, suffix, DType::int32).data_as<std::int32_t>();
  if (azp == 0 && !rule.spec.azp) return;
  if (!rule.spec.azp && layer.config.activation) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be 0, since '{}' says that activations are "
           "symmetric; got {}",
           in_quotes(layer.name(suffix)), kConfigKey, azp);
  }
  rule.spec.azp = true;
  rule.static_azp = azp;
}

/// The rule with the file's static scale and zero point, where activations are static.
std::optional<ActivationQuant> with_input_scale(const Layer& layer,
                                                std::optional<ActivationQuant> rule) {
  const std::string_view scale = layer.dialect.input_scale;
  const bool there = layer.has(scale);
  if (layer.config.activations_by_scale && !there) return std::nullopt;
  if (!rule || !layer.config.static_activations.value_or(there)) return rule;
  if (!there) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be there, since '{}' says that activations are "
           "static; got none",
           in_quotes(layer.name(scale)), kConfigKey);
  }
  rule->static_scale = *read_number(layer, scale, DType::float32).data_as<float>();
  if (!(rule->static_scale > 0.0F) || std::isinf(rule->static_scale)) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {} must be a finite number above 0; got {}",
           in_quotes(layer.name(scale)), rule->static_scale);
  }
  rule->spec.granularity = per_tensor();
  add_input_zero_point(layer, *rule);
  return rule;
}

/// Tensors that change what codes and scales mean.
struct Beside {
  std::string_view suffix;
  std::string_view reason;
};
constexpr std::array<Beside, 5> kNotRead{{
    {".pre_quant_scale", "activations would have to be multiplied by it"},
    {"._weight_act_pre_scale", "activations would have to be multiplied by it"},
    {".weight_scale_2", "scales of two levels belong to codes of 4 bits"},
    {".weight_global_scale", "scales of two levels belong to codes of 4 bits"},
    {".weight._shift", "quanto's zero points belong to codes of fewer bits"},
}};

void check_beside(const Layer& layer) {
  for (const Beside& row : kNotRead) {
    if (!layer.has(row.suffix)) continue;
    refuse(Code::unsupported, "Checkpoint::weight: layer {} must come without tensor {}: {}",
           in_quotes(layer.prefix), in_quotes(layer.name(row.suffix)), row.reason);
  }
}

}  // namespace

Tensor Layer::matrix() const {
  const TensorEntry& entry = impl.entry("Checkpoint::tensor", name(dialect.codes));
  if (in_place != nullptr && entry.shape.size() == 2) {
    *in_place = {&entry, whole_matrix(entry)};
    return outline(*in_place);
  }
  if (extents == Extents::any && entry.shape.size() > 2 && entry.shape[0] > 0) {
    const std::int64_t rows = entry.shape[0];
    if (in_place != nullptr) {
      TensorEntry flat = entry;
      flat.shape = {rows, (entry.end - entry.begin) / rows};  // codes have a byte each
      *in_place = {&entry, whole_matrix(flat)};
      return outline(*in_place);
    }
    const Tensor stored = tensor(dialect.codes);
    const TensorView flat(stored.data(), stored.dtype(), {rows, stored.numel() / rows});
    return Tensor::adopt(std::make_shared<Tensor>(stored), flat);
  }
  Tensor stored = tensor(dialect.codes);
  if (stored.rank() == 2) return stored;
  refuse(
      Code::invalid_argument,
      "Checkpoint::weight: tensor {}.shape must be 2-D, [N, K]; got {}: read it with tensor(), or "
      "experts with experts()",
      in_quotes(name(dialect.codes)), shape_string(stored));
}

ScaleGrid grid_of(const Layer& layer, const TensorView& codes, const TensorView& scale,
                  std::span<const ScaleGrid> undeclared) {
  if (layer.config.grid) undeclared = std::span(&*layer.config.grid, 1);
  for (const ScaleGrid& grid : undeclared) {
    if (fits(scale, codes, grid)) return grid;
  }
  std::string allowed;
  for (const ScaleGrid& grid : undeclared) {
    allowed += fmt::format("{}[{}, {}]", allowed.empty() ? "" : " or ",
                           cells(codes.shape[0], grid.rows), cells(codes.shape[1], grid.cols));
  }
  refuse(Code::corrupt_data,
         "Checkpoint::weight: tensor {}.shape must be {} for the weight {}; got {} ('{}' declares "
         "other granularities)",
         in_quotes(layer.name(layer.dialect.scale)), allowed, shape_string(codes),
         shape_string(scale), kConfigKey);
}

Tensor widened(const std::string& tensor, const Tensor& stored, DType codes) {
  TensorView view = stored.view();
  if (view.dtype == DType::uint8 && is_float8(codes)) view.dtype = DType::float8_e8m0fnu;
  if (!is_wide(view.dtype) && view.dtype != DType::float8_e8m0fnu) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: tensor {}.dtype must be F32, BF16, F16 or F8_E8M0; got {}",
           in_quotes(tensor), name(stored.dtype()));
  }
  const FloatEnvironment environment;  // byte 0 of E8M0 is a subnormal
  return copy(view, DType::float32);
}

Tensor wide_scale(const Layer& layer, const Tensor& stored, const TensorView& codes,
                  const ScaleGrid& grid) {
  const Tensor wide = widened(layer.name(layer.dialect.scale), stored, codes.dtype);
  const TensorView matrix(wide.data(), DType::float32,
                          {cells(codes.shape[0], grid.rows), cells(codes.shape[1], grid.cols)});
  return Tensor::adopt(std::make_shared<Tensor>(wide), matrix);
}

const char* scheme_of(DType codes, const ScaleGrid& grid, bool exponents,
                      const std::optional<ActivationQuant>& activation) {
  const bool integers = codes == DType::int8;
  if (!activation) return integers ? "int8-weight-only" : "fp8-weight-only";
  if (integers) return "int8-dynamic";
  if (exponents && grid == ScaleGrid{1, kMxGroup}) return "mxfp8";
  return grid.cols == kWholeExtent ? "fp8-dynamic" : "fp8-block";
}

Tensor read_number(const Layer& layer, std::string_view suffix, DType dtype) {
  const Tensor stored = layer.tensor(suffix);
  if (stored.numel() != 1) {
    refuse(Code::corrupt_data, "Checkpoint::weight: tensor {} must have one element; got {}",
           in_quotes(layer.name(suffix)), shape_string(stored));
  }
  return copy(stored, dtype);
}

Tensor stored_zero_points(const Layer& layer) {
  if (!layer.has(layer.dialect.zero_point)) return {};
  const Tensor stored = layer.tensor(layer.dialect.zero_point);
  const bool integers = stored.dtype() == DType::int8 || stored.dtype() == DType::int32;
  if (!integers) refuse_zero_points(layer, "be of type I8 or I32", name(stored.dtype()));
  const Tensor azp = copy(stored, DType::int32);
  const auto* values = azp.data_as<std::int32_t>();
  const auto* wrong = std::find_if(values, values + azp.numel(),
                                   [](std::int32_t v) { return v < -128 || v > 127; });
  if (wrong != values + azp.numel()) {
    refuse_zero_points(layer, "be inside the range of int8", fmt::format("{}", *wrong));
  }
  return azp;
}

std::optional<ActivationQuant> activations_follow(DType codes, const ScaleGrid& grid) {
  if (codes == DType::int8) return per_token_rule(codes);
  return grid.cols == kWholeExtent ? per_token_rule(DType::float8_e4m3fn)
                                   : group_rule(DType::float8_e4m3fn, grid.cols);
}

std::optional<ActivationQuant> activations_stay(DType /*codes*/, const ScaleGrid& /*grid*/) {
  return std::nullopt;
}

void check_rotation(const Layer& layer, const Weight& weight) {
  const std::int32_t block = weight.activation ? weight.activation->rotation : 0;
  const TensorView codes = weight.codes.data;
  if (block == 0 || codes.shape[1] % block == 0) return;
  refuse(Code::corrupt_data,
         "Checkpoint::weight: the codes of {} must have whole rotated groups of {} along K; got {}",
         in_quotes(layer.prefix), block, shape_string(codes));
}

Weight scaled_weight(const Layer& layer, ScaledCodes parts, std::span<const ScaleGrid> undeclared,
                     std::optional<ActivationQuant> (*rule)(DType, const ScaleGrid&)) {
  check_beside(layer);
  check_kind(layer, parts.codes);
  const ScaleGrid grid = grid_of(layer, parts.codes, parts.scale, undeclared);
  const DType codes = parts.codes.dtype();
  const DType scales = parts.scale.dtype();
  Weight weight;
  weight.codes = {parts.codes, wide_scale(layer, parts.scale, parts.codes, grid), grid,
                  checked_zero_points(layer, parts, grid)};
  weight.activation = with_input_scale(layer, layer.config.activation.value_or(rule(codes, grid)));
  weight.scheme = scheme_of(codes, grid, is_exponent(scales), weight.activation);
  check_rotation(layer, weight);
  return weight;
}

}  // namespace octavo::checkpoint
