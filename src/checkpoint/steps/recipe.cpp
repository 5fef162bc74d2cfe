// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/recipe.hpp"

#include <array>
#include <cstring>
#include <utility>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/steps/layer_report.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "core/scales/quantize_rules.hpp"
#include "octavo/llm_int8.hpp"
#include "octavo/rotate.hpp"

namespace octavo {
namespace checkpoint {
namespace {

Written by_cells(const TensorView& weight, DType dtype, const Granularity& granularity,
                 CodeErrors* errors, const ExecContext& context) {
  const QuantizeOptions options{.dtype = dtype, .granularity = granularity};
  Quantized q = errors == nullptr ? quantize(weight, options, context)
                                  : quantize(weight, options, *errors, context);
  Tensor scale = q.scale;
  return {std::move(q), std::move(scale)};
}

Written int8_rows(const TensorView& weight, CodeErrors* errors, const ExecContext& context) {
  return by_cells(weight, DType::int8, per_token(), errors, context);
}
Written fp8_rows(const TensorView& weight, CodeErrors* errors, const ExecContext& context) {
  return by_cells(weight, DType::float8_e4m3fn, per_token(), errors, context);
}
Written fp8_blocks(const TensorView& weight, CodeErrors* errors, const ExecContext& context) {
  return by_cells(weight, DType::float8_e4m3fn, block(kBlock, kBlock), errors, context);
}

// The file holds the absolute maxima; the report needs the scales.
Written llm_int8_rows(const TensorView& weight, CodeErrors* errors, const ExecContext& context) {
  constexpr float kQmax = 127.0F;
  const VectorwiseQuant rows = errors == nullptr ? int8_vectorwise_quant(weight, {}, context)
                                                 : int8_vectorwise_quant(weight, *errors, context);
  const std::int64_t n = weight.shape[0];
  const Tensor scale = Tensor::empty(DType::float32, {n, 1});
  for (std::int64_t i = 0; i < n; ++i) {
    scale.data_as<float>()[i] = rows.row_absmax.data_as<float>()[i] / kQmax;
  }
  return {{rows.codes, scale, ScaleGrid{1, kWholeExtent}, {}}, rows.row_absmax};
}

// Rounded as those of activations are: up, so that no weight is too large.
Written mx_groups(const TensorView& weight, CodeErrors* errors, const ExecContext& context) {
  const QuantizeOptions options{
      .dtype = DType::float8_e4m3fn, .granularity = group(kMxGroup), .rounding = kMxRounding};
  Quantized q = errors == nullptr ? quantize(weight, options, context)
                                  : quantize(weight, options, *errors, context);
  Tensor exponents = copy(q.scale, DType::float8_e8m0fnu);
  return {std::move(q), std::move(exponents)};
}

using Rule = std::optional<ActivationQuant>;
Rule int8_tokens() { return per_token_rule(DType::int8); }
Rule fp8_tokens() { return per_token_rule(DType::float8_e4m3fn); }
Rule fp8_groups() { return group_rule(DType::float8_e4m3fn, kBlock); }
Rule llm_int8_tokens() { return llm_int8_rule(kOutlierThreshold); }
Rule mx_activations() { return mx_rule(DType::float8_e4m3fn); }
Rule as_they_are() { return std::nullopt; }

float int8_code(float weight, float scale) { return shifted_code(DType::int8, weight / scale, 0); }
float llm_int8_code(float weight, float absmax) {
  return shifted_code(DType::int8, weight * vectorwise_factor(absmax), 0);
}

constexpr const char* kScale = "weight_scale";
constexpr ScaleGrid kBlocks{kBlock, kBlock}, kMxGroups{1, kMxGroup};
constexpr std::array<Recipe, kAllSchemes.size()> kRecipes{{
    {Scheme::int8_dynamic, int8_rows, int8_tokens, "I8", kScale, "F32", kRowGrid, int8_code},
    {Scheme::fp8_dynamic, fp8_rows, fp8_tokens, "F8_E4M3", kScale, "F32", kRowGrid},
    {Scheme::fp8_block, fp8_blocks, fp8_groups, "F8_E4M3", "weight_scale_inv", "F32", kBlocks},
    {Scheme::llm_int8, llm_int8_rows, llm_int8_tokens, "I8", "SCB", "F32", kRowGrid, llm_int8_code,
     true},
    {Scheme::int8_weight_only, int8_rows, as_they_are, "I8", kScale, "F32", kRowGrid, int8_code},
    {Scheme::fp8_weight_only, fp8_rows, as_they_are, "F8_E4M3", kScale, "F32", kRowGrid},
    {Scheme::mxfp8, mx_groups, mx_activations, "F8_E4M3", kScale, "U8", kMxGroups},
}};

}  // namespace

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::vector<std::byte> bytes(
      static_cast<std::size_t>(tensor.numel() * element_bytes(tensor.dtype())));
  if (!bytes.empty()) std::memcpy(bytes.data(), tensor.data(), bytes.size());
  return bytes;
}

TensorShape scale_shape(const Recipe& recipe, const std::string& layer, std::int64_t n,
                        std::int64_t k) {
  std::vector<std::int64_t> shape{n};
  if (!recipe.bitsandbytes) shape = {cells(n, recipe.grid.rows), cells(k, recipe.grid.cols)};
  return {layer + "." + recipe.scale, recipe.scale_type, std::move(shape)};
}

Tensor stored_scale(const Recipe& recipe, const Tensor& scale) {
  const bool exponents = std::string_view(recipe.scale_type) == "U8";
  return copy(scale, exponents ? DType::float8_e8m0fnu : DType::float32);
}

std::vector<TensorToWrite> tensors_beside(const Recipe& recipe, const std::string& layer,
                                          std::int64_t n, std::int64_t k,
                                          std::function<Tensor()> scale) {
  TensorShape shape = scale_shape(recipe, layer, n, k);
  std::vector<TensorToWrite> beside;
  beside.push_back({std::move(shape.name), std::move(shape.dtype), std::move(shape.shape),
                    [scale = std::move(scale)] { return bytes_of(scale()); }});
  if (recipe.bitsandbytes) {
    beside.push_back({layer + ".weight_format", "U8", {}, [] {
                        return std::vector<std::byte>(1, std::byte{0});
                      }});
  }
  return beside;
}

const Recipe& recipe_of(const char* operation, Scheme scheme) {
  for (const Recipe& recipe : kRecipes) {
    if (recipe.scheme == scheme) return recipe;
  }
  refuse(Code::invalid_argument, "{}: scheme must be one of the {}; got {}", operation,
         kRecipes.size(), static_cast<int>(scheme));
}

}  // namespace checkpoint

std::optional<ActivationQuant> activation_rule(Scheme scheme) {
  return checkpoint::recipe_of("activation_rule", scheme).rule();
}

Weight quantize_weight(const TensorView& given, Scheme scheme, std::int32_t rotation) {
  const checkpoint::Recipe& recipe = checkpoint::recipe_of("quantize_weight", scheme);
  if (given.rank != 2) {
    refuse(Code::invalid_argument, "quantize_weight: weight.shape must be 2-D [N, K]; got {}",
           shape_string(given));
  }
  std::optional<ActivationQuant> rule = recipe.rule();
  Tensor rotated;
  if (rotation != 0) {
    if (!rule || rule->vectorwise) {
      refuse(Code::unsupported,
             "quantize_weight: rotation must be 0 for llm-int8 and where activations stay as they "
             "are; got {} for {}",
             rotation, scheme_name(scheme));
    }
    rule->rotation = rotation;
    rotated = rotate(given, {.block = rotation, .out_dtype = DType::float32});
  }
  const TensorView weight = rotated.defined() ? rotated.view() : given;
  const checkpoint::Written written = recipe.quantize(weight, nullptr, {});
  return {written.codes, std::move(rule), std::string(scheme_name(scheme)),
          recipe.bitsandbytes ? written.scale : Tensor()};
}

LayerReport compare_weight(std::string_view layer, const TensorView& weight,
                           const Weight& quantized) {
  const std::int32_t block = quantized.activation ? quantized.activation->rotation : 0;
  if (block == 0) return checkpoint::measure("compare_weight", layer, weight, quantized.codes);
  const Tensor rotated = rotate(weight, {.block = block, .out_dtype = DType::float32});
  LayerReport report = checkpoint::measure("compare_weight", layer, rotated, quantized.codes);
  report.bytes_before = weight.numel() * element_bytes(weight.dtype);
  return report;
}

}  // namespace octavo
