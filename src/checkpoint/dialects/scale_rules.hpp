// SPDX-License-Identifier: Apache-2.0
// What scales say where nothing is declared, for layers and for stacks of experts.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "checkpoint/declared/quantization_config.hpp"
#include "octavo/checkpoint.hpp"

namespace octavo::checkpoint {

/// The readings of a scale whose granularity nobody declares, the first that fits.
inline constexpr std::array<ScaleGrid, 4> kUndeclaredGrids{{
    kRowGrid,
    kTensorGrid,
    {kBlock, kBlock},
    {1, kBlock},
}};

/// Types of scales that are powers of two: F8_E8M0, or bytes that hold the same exponents.
constexpr bool is_exponent(DType dtype) noexcept {
  return dtype == DType::uint8 || dtype == DType::float8_e8m0fnu;
}

/// A scale widened exactly to float32, in its own shape; bytes beside float codes are exponents.
/// Throws Error (corrupt_data) for other types, naming the tensor.
Tensor widened(const std::string& tensor, const Tensor& stored, DType codes);

/// int8 per token; fp8 per token where K is whole, in groups as long as the weight's where it is
/// cut.
std::optional<ActivationQuant> activations_follow(DType codes, const ScaleGrid& grid);

/// The name of a scheme by codes, granularity and what becomes of activations.
const char* scheme_of(DType codes, const ScaleGrid& grid, bool exponents,
                      const std::optional<ActivationQuant>& activation);

}  // namespace octavo::checkpoint
