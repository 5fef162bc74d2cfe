// SPDX-License-Identifier: Apache-2.0
// Dialects: how each tool writes a quantised linear layer, and what their readers share.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/declared/quantization_config.hpp"
#include "checkpoint/dialects/matrix_place.hpp"
#include "checkpoint/dialects/scale_rules.hpp"
#include "checkpoint/open/open_checkpoint.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

struct Dialect;

/// Which codes are read: matrices, or those of convolutions, too, as [N, all else].
enum class Extents : std::uint8_t { matrix, any };

/// A layer whose dialect has been recognised. Its codes and its scale are there.
struct Layer {
  const Checkpoint& file;
  const Checkpoint::Impl& impl;
  const Dialect& dialect;
  std::string prefix;
  LayerConfig config;
  Extents extents = Extents::matrix;
  CodesInPlace* in_place = nullptr;  ///< not null: codes that lie row by row are to be left there

  std::string name(std::string_view suffix) const { return prefix + std::string(suffix); }
  bool has(std::string_view suffix) const { return !suffix.empty() && file.contains(name(suffix)); }
  Tensor tensor(std::string_view suffix) const { return file.tensor(name(suffix)); }
  /// The codes as stored, without memory where they are left in place. Throws Error
  /// (invalid_argument) unless they have two dimensions, or more where `extents` allows it.
  Tensor matrix() const;
};

/// One way to write a layer: the names of its tensors behind the prefix. Empty: has none.
struct Dialect {
  std::string_view tools;  ///< who writes it
  std::string_view codes;
  std::string_view scale;
  std::string_view zero_point;
  std::string_view input_scale;
  std::string_view input_zero_point;
  bool (*takes)(DType) noexcept;  ///< the types that codes are stored in
  Weight (*read)(const Layer&);
  bool proof = true;  ///< the scale's name alone says "quantised"; norms have a ".scale", too
};

/// Codes, their scales and, where there are some other than zero, zero points.
struct ScaledCodes {
  Tensor codes;  ///< [N, K]
  Tensor scale;  ///< as stored, or in the order of `codes`
  Tensor azp;    ///< int32, one for each scale; undefined: none
};

/// The granularity of a stored scale: the declared one, else the first of `undeclared` that fits
/// its shape. Where two fit, they mean the same: the shapes then differ in extents of one cell
/// only. Throws Error (corrupt_data) where none fits.
ScaleGrid grid_of(const Layer& layer, const TensorView& codes, const TensorView& scale,
                  std::span<const ScaleGrid> undeclared);

/// A scale as stored, widened exactly to float32, one per cell of the grid. Bytes are exponents, as
/// in F8_E8M0. Throws Error (corrupt_data) for other types.
Tensor wide_scale(const Layer& layer, const Tensor& stored, const TensorView& codes,
                  const ScaleGrid& grid);

/// The canonical weight of codes and scales: granularity, zero points, activation rule, scheme.
/// `rule` is that of activations where nothing is declared, given the weight's granularity.
Weight scaled_weight(const Layer& layer, ScaledCodes parts, std::span<const ScaleGrid> undeclared,
                     std::optional<ActivationQuant> (*rule)(DType codes, const ScaleGrid& grid));

/// Activations as they are.
std::optional<ActivationQuant> activations_stay(DType codes, const ScaleGrid& grid);

/// The zero points beside a weight, int32 in the shape they are stored in; undefined where there
/// are none. Throws Error (corrupt_data) for what is no integer.
Tensor stored_zero_points(const Layer& layer);

/// The one element of a tensor beside the weight, converted.
Tensor read_number(const Layer& layer, std::string_view suffix, DType dtype);

/// The canonical weight of a layer, whatever its dialect; its codes left in place where `in_place`
/// is not null and they can be. Throws Error.
Weight read_weight(const Checkpoint& file, const std::string& prefix, CodesInPlace* in_place,
                   Extents extents = Extents::matrix);

// The readers of the table.
Weight read_bitsandbytes(const Layer& layer);
Weight read_scaled(const Layer& layer);
Weight read_block_fp8(const Layer& layer);
Weight read_comfy_scaled(const Layer& layer);
Weight read_pack_quantized(const Layer& layer);
Weight read_gptq(const Layer& layer);
/// Throws Error (unsupported), always.
Weight read_mlx(const Layer& layer);
Weight read_torchao(const Layer& layer);
Weight read_quanto(const Layer& layer);
Weight read_gguf(const Layer& layer);

/// What ".comfy_quant" beside a layer says of it, in place of a configuration; nothing where there
/// is none. Throws Error.
std::optional<LayerConfig> comfy_config(const Checkpoint& file, const std::string& prefix);

}  // namespace octavo::checkpoint
