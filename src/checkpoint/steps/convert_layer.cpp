// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/steps/convert_layer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/models/loadable.hpp"
#include "checkpoint/steps/recipe.hpp"
#include "checkpoint/steps/rows.hpp"
#include "checkpoint/text/sentence.hpp"
#include "core/data/cells.hpp"
#include "core/fp_env.hpp"
#include "weights/rule.hpp"

namespace octavo::checkpoint {
namespace {

bool is_int8(const Weight& weight) { return weight.codes.data.dtype() == DType::int8; }
bool is_static(const Weight& weight) {
  return weight.activation && weight.activation->static_scale > 0.0F;
}

/// Codes made anew from the values, in the form of a scheme.
void requantize(Weight& weight, Scheme scheme, std::vector<std::string>& lost) {
  const Tensor values = float_values(weight, DType::float32);
  lost.push_back(fmt::format("codes of {} are made anew in the form of {}", weight.scheme,
                             scheme_name(scheme)));
  weight = quantize_weight(values, scheme);
}

/// One scale for the whole of an fp8 weight.
void requantize_tensor(Weight& weight, std::vector<std::string>& lost) {
  const Tensor values = float_values(weight, DType::float32);
  lost.push_back(fmt::format("codes of {} are made anew with one scale", weight.scheme));
  weight.codes = quantize(values, {.dtype = DType::float8_e4m3fn, .granularity = per_tensor()});
  weight.columns = {};
  weight.absmax = {};
  weight.scheme = "fp8-dynamic";
}

/// A granularity of rows [N, K].
Granularity granularity_of_rows(const ScaleGrid& grid) {
  if (grid == kTensorGrid) return per_tensor();
  if (grid == kRowGrid) return per_token();
  return grid.rows == 1 ? group(grid.cols) : block(grid.rows, grid.cols);
}

/// Codes of an fp8 type that a configuration has no word for, which are read as e4m3fn: made anew
/// at the same granularity, and the rule of activations stays.
void recode(Weight& weight, std::vector<std::string>& lost) {
  const DType before = weight.codes.data.dtype();
  if (!is_float8(before) || before == DType::float8_e4m3fn) return;
  const Tensor values = float_values(weight, DType::float32);
  lost.push_back(
      fmt::format("codes of {} are made anew as {}", name(before), name(DType::float8_e4m3fn)));
  if (weight.scheme == "mxfp8") {
    weight.codes = quantize_mxfp8(values);
    weight.codes.scale = copy(weight.codes.scale, DType::float32);
    return;
  }
  weight.codes = quantize(values, {.dtype = DType::float8_e4m3fn,
                                   .granularity = granularity_of_rows(weight.codes.grid)});
}

void plain_activations(Weight& weight, ActivationQuant rule, std::vector<std::string>& lost) {
  const bool same = weight.activation && same_rule(*weight.activation, rule);
  if (same) return;
  lost.push_back(!weight.activation
                     ? "activations are quantised now"
                     : fmt::format("activations' rule becomes {} {}", name(rule.spec.dtype),
                                   to_string(rule.spec.granularity)));
  weight.activation = std::move(rule);
}

Tensor number(DType dtype, float value) {
  const Tensor one = Tensor::empty(DType::float32, {1});
  *one.data_as<float>() = value;
  return copy(one, dtype);
}

class Builder {
 public:
  Builder(const std::string& layer, Weight weight) : layer_(layer) {
    out_.weight = std::move(weight);
  }
  Converted take() { return std::move(out_); }
  Weight& weight() { return out_.weight; }
  std::vector<std::string>& lost() { return out_.lost; }

  void put(const char* name, const Tensor& tensor, std::vector<std::int64_t> shape,
           std::string_view dtype = {}) {
    if (dtype.empty()) dtype = info(tensor.dtype()).safetensors;
    out_.shapes.push_back({layer_ + "." + name, std::string(dtype), std::move(shape)});
    out_.tensors.push_back(tensor);
  }
  void put(const char* name, const Tensor& tensor, std::string_view dtype = {}) {
    put(name, tensor, {tensor.view().dims().begin(), tensor.view().dims().end()}, dtype);
  }
  /// Codes four in an int32 of rows [n, k / 4], with the shape and zero points beside them.
  void put_packed();
  void put_codes() { put("weight", copy(weight().codes.data, weight().codes.data.dtype())); }

 private:
  const std::string& layer_;
  Converted out_;
};

/// Zero points [n, g] as compressed-tensors packs them, four rows in an int32: [n / 4, g].
Tensor packed_rows(const Tensor& azp) {
  constexpr std::int64_t kRows = 4;
  const std::int64_t n = azp.size(0), groups = azp.size(1);
  const Tensor packed = Tensor::empty(DType::int32, {cells(n, kRows), groups});
  std::fill_n(packed.data_as<std::int32_t>(), packed.numel(), 0);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t g = 0; g < groups; ++g) {
      const auto byte =
          static_cast<std::uint32_t>(azp.data_as<std::int32_t>()[i * groups + g] + 128);
      auto& word = packed.data_as<std::int32_t>()[i / kRows * groups + g];
      word =
          static_cast<std::int32_t>(static_cast<std::uint32_t>(word) | byte << (8 * (i % kRows)));
    }
  }
  return packed;
}

void Builder::put_packed() {
  const Tensor& codes = weight().codes.data;
  const std::int64_t n = codes.size(0), k = codes.size(1);
  const Tensor bytes = copy(codes, DType::int8);
  add_128(bytes);
  put("weight_packed", bytes, {n, k / kCodesInWord}, "I32");
  const Tensor shape = Tensor::empty(DType::int64, {2});
  shape.data_as<std::int64_t>()[0] = n;
  shape.data_as<std::int64_t>()[1] = k;
  put("weight_shape", shape);
}

Converted to_compressed_tensors(const std::string& layer, Weight given, bool) {
  Builder b(layer, std::move(given));
  Weight& w = b.weight();
  if (w.columns.defined()) {
    requantize(w, is_int8(w) ? Scheme::int8_dynamic : Scheme::fp8_dynamic, b.lost());
  }
  recode(w, b.lost());
  const bool packed = is_packed(layer, w);
  if (w.scheme == "llm-int8") {
    w.scheme = "int8-dynamic";
    w.absmax = {};
    plain_activations(w, per_token_rule(DType::int8), b.lost());
  }
  packed ? b.put_packed() : b.put_codes();
  if (w.scheme == "mxfp8") {
    // E8M0, which the format keeps as bytes.
    b.put("weight_scale", copy(w.codes.scale, DType::float8_e8m0fnu), "U8");
  } else if (w.codes.grid == kTensorGrid) {
    b.put("weight_scale", copy(w.codes.scale, DType::float32), std::vector<std::int64_t>{1});
  } else {
    b.put("weight_scale", copy(w.codes.scale, DType::float32));
  }
  if (w.codes.azp.defined()) {
    const bool rows = packed && w.codes.grid.rows == 1;
    b.put("weight_zero_point", rows ? packed_rows(w.codes.azp) : copy(w.codes.azp, DType::int8));
  }
  if (is_static(w)) {
    b.put("input_scale", number(DType::float32, w.activation->static_scale));
    if (w.activation->spec.azp) {
      b.put("input_zero_point", number(DType::int8, static_cast<float>(w.activation->static_azp)));
    }
  }
  return b.take();
}

Converted to_fp8(const std::string& layer, Weight given, bool keep_static) {
  Builder b(layer, std::move(given));
  Weight& w = b.weight();
  if (w.codes.data.dtype() != DType::float8_e4m3fn || w.codes.grid != kTensorGrid ||
      w.columns.defined()) {
    requantize_tensor(w, b.lost());
  }
  // vLLM's method has one scale for the tensor, of a batch or stored; per token is what runs where
  // a kernel has it.
  ActivationQuant rule = per_token_rule(DType::float8_e4m3fn);
  const bool keep = keep_static && is_static(w) && !w.activation->spec.azp &&
                    w.activation->spec.dtype == DType::float8_e4m3fn;
  if (keep) rule = *w.activation;
  plain_activations(w, rule, b.lost());
  b.put_codes();
  b.put("weight_scale", copy(w.codes.scale, DType::float32), std::vector<std::int64_t>{});
  if (keep)
    b.put("input_scale", number(DType::float32, w.activation->static_scale),
          std::vector<std::int64_t>{});
  return b.take();
}

Converted to_fp8_block(const std::string& layer, Weight given, bool) {
  Builder b(layer, std::move(given));
  Weight& w = b.weight();
  if (w.codes.data.dtype() != DType::float8_e4m3fn || w.codes.grid != ScaleGrid{kBlock, kBlock} ||
      w.columns.defined()) {
    requantize(w, Scheme::fp8_block, b.lost());
  }
  plain_activations(w, group_rule(DType::float8_e4m3fn, kBlock), b.lost());
  b.put_codes();
  b.put("weight_scale_inv", copy(w.codes.scale, DType::float32));
  return b.take();
}

/// The row maximum whose 127th part, rounded, is the scale; nothing where none is.
std::optional<float> absmax_of(float scale) {
  constexpr float kQmax = 127.0F;
  const float near = scale * kQmax;
  for (const float candidate :
       {near, std::nextafter(near, 0.0F), std::nextafter(near, HUGE_VALF)}) {
    if (candidate / kQmax == scale) return candidate;
  }
  return std::nullopt;
}

Tensor row_maxima(const Weight& w, std::vector<std::string>& lost) {
  const FloatEnvironment environment;
  const std::int64_t n = w.codes.data.size(0);
  const Tensor maxima = Tensor::empty(DType::float32, {n});
  const auto* scales = w.codes.scale.data_as<float>();
  std::int64_t rounded = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    const float scale = scales[w.codes.grid == kTensorGrid ? 0 : i];
    const auto exact = absmax_of(scale);
    maxima.data_as<float>()[i] = exact.value_or(scale * 127.0F);
    rounded += exact ? 0 : 1;
  }
  if (rounded > 0) lost.push_back("scales of some rows are rounded in their last bit");
  return maxima;
}

Converted to_bitsandbytes(const std::string& layer, Weight given, bool) {
  Builder b(layer, std::move(given));
  Weight& w = b.weight();
  const bool rows = w.codes.grid == kRowGrid || w.codes.grid == kTensorGrid;
  if (!is_int8(w) || !rows || w.codes.azp.defined() || w.columns.defined()) {
    requantize(w, Scheme::llm_int8, b.lost());
  }
  if (w.scheme != "llm-int8") {
    plain_activations(w, llm_int8_rule(kOutlierThreshold), b.lost());
  }
  b.put_codes();
  b.put("SCB", w.absmax.defined() ? copy(w.absmax, DType::float32) : row_maxima(w, b.lost()));
  b.put("weight_format", number(DType::uint8, 0.0F), std::vector<std::int64_t>{});
  return b.take();
}

}  // namespace

Converted convert_layer(const std::string& layer, Weight weight, Format format, bool keep_static) {
  constexpr std::array<Converted (*)(const std::string&, Weight, bool), 4> kFormats{
      to_compressed_tensors, to_fp8, to_fp8_block, to_bitsandbytes};
  if (weight.activation && weight.activation->rotation != 0) {  // which no format can say
    std::vector<std::string> lost{"rows are rotated back"};
    requantize(weight, is_int8(weight) ? Scheme::int8_dynamic : Scheme::fp8_dynamic, lost);
    Converted made = convert_layer(layer, std::move(weight), format, keep_static);
    made.lost.insert(made.lost.begin(), lost.begin(), lost.end());
    return made;
  }
  return kFormats.at(static_cast<std::size_t>(format))(layer, std::move(weight), keep_static);
}

}  // namespace octavo::checkpoint
