// SPDX-License-Identifier: Apache-2.0
// Codes as they are, with a scale beside them: compressed-tensors, vLLM, transformers, DeepSeek,
// ModelOpt, ComfyUI, quanto.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "checkpoint/dialects/dialect.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

/// [N, K], of the type that is declared where the file's is a container of bytes.
Tensor read_codes(const Layer& layer) {
  const std::string name = layer.name(layer.dialect.codes);
  const Tensor stored = layer.matrix();
  const DType declared = layer.config.codes.value_or(stored.dtype());
  if (declared == stored.dtype() && stored.dtype() != DType::uint8) return stored;
  if (stored.dtype() != DType::uint8 || !layer.config.codes) {
    refuse(
        Code::corrupt_data, "Checkpoint::weight: tensor {} must hold {}; got {}", in_quotes(name),
        layer.config.codes ? octavo::name(declared) : "I8 or a float of 8 bits, or say its format",
        octavo::name(stored.dtype()));
  }
  TensorView view = stored.view();
  view.dtype = declared;
  return Tensor::adopt(std::make_shared<Tensor>(stored), view);
}

constexpr std::array<ScaleGrid, 1> kMxGrid{{{1, kMxGroup}}};

std::optional<ActivationQuant> mx_follows(DType /*codes*/, const ScaleGrid& /*grid*/) {
  return mx_rule(DType::float8_e4m3fn);
}

/// A mark for the whole file, "scaled_fp8", of two elements: every product is in float.
bool full_precision(const Layer& layer) {
  return std::ranges::any_of(layer.file.entries(), [](const TensorEntry& entry) {
    return entry.name.ends_with("scaled_fp8") && entry.shape == std::vector<std::int64_t>{2};
  });
}

}  // namespace

// Exponents as bytes are MX's.
Weight read_scaled(const Layer& layer) {
  const ScaledCodes parts{read_codes(layer), layer.tensor(layer.dialect.scale),
                          stored_zero_points(layer)};
  const bool mx = parts.scale.dtype() == DType::uint8 && is_float8(parts.codes.dtype());
  if (!mx) return scaled_weight(layer, parts, kUndeclaredGrids, activations_follow);
  return scaled_weight(layer, parts, kMxGrid, mx_follows);
}

// A multiplier, despite "_inv": of a block, or where transformers' block size is null of all.
Weight read_block_fp8(const Layer& layer) {
  constexpr std::array<ScaleGrid, 2> kDeepSeek{{{kBlock, kBlock}, {}}};
  const ScaledCodes parts{read_codes(layer), layer.tensor(layer.dialect.scale), {}};
  if (parts.scale.dtype() == DType::uint8) return scaled_weight(layer, parts, kMxGrid, mx_follows);
  return scaled_weight(layer, parts, kDeepSeek, activations_follow);
}

// ComfyUI multiplies in float unless the file has a scale for activations.
Weight read_comfy_scaled(const Layer& layer) {
  constexpr std::array<ScaleGrid, 1> kTensor{};
  return scaled_weight(layer, {read_codes(layer), layer.tensor(layer.dialect.scale), {}}, kTensor,
                       layer.has(layer.dialect.input_scale) && !full_precision(layer)
                           ? activations_follow
                           : activations_stay);
}

// Every layer has an input_scale; it counts where quanto_qmap.json says so. 1 is what an
// uncalibrated one is.
Weight read_quanto(const Layer& layer) {
  const std::string_view input = layer.dialect.input_scale;
  if (!layer.config.activation && layer.has(input) &&
      *read_number(layer, input, DType::float32).data_as<float>() != 1.0F) {
    refuse(Code::corrupt_data,
           "Checkpoint::weight: layer {} must be declared by quanto_qmap.json, since its "
           "input_scale is calibrated; got none",
           in_quotes(layer.prefix));
  }
  Layer declared = layer;
  if (!declared.config.activation) declared.config.activation = std::optional<ActivationQuant>();
  return scaled_weight(declared, {read_codes(layer), layer.tensor(layer.dialect.scale), {}},
                       kUndeclaredGrids, activations_stay);
}

}  // namespace octavo::checkpoint
