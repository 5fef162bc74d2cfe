// SPDX-License-Identifier: Apache-2.0
// How an operation names its arguments in the sentences of its errors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace octavo {

enum class Arg : std::uint8_t {
  a,
  b,
  scale_a,
  scale_b,
  bias,
  scale_result,
  out_dtype,
  alpha,
  beta,
  c,
  azp,
  out,
  offs,
};

using ArgNames = std::array<const char*, 13>;

inline constexpr ArgNames kPlainNames{
    "a",     "b",    "scale_a", "scale_b", "bias", "scale_result", "out_dtype",
    "alpha", "beta", "c",       "azp",     "out",  "offs"};
inline constexpr ArgNames kListNames{"inputs",       "weights",   "scales_a", "scales_b", "biases",
                                     "scale_result", "out_dtype", "alpha",    "beta",     "c",
                                     "azp",          "outs",      "offs"};
inline constexpr ArgNames kBatchNames{"input",        "weight",    "scale_a", "scale_b", "bias",
                                      "scale_result", "out_dtype", "scale",   "beta",    "c",
                                      "azp",          "out",       "offs"};
inline constexpr ArgNames kFunctionalNames{
    "mat_a", "mat_b", "scale_a", "scale_b", "bias", "scale_result", "output_dtype",
    "alpha", "beta",  "c",       "azp",     "out",  "offs"};
inline constexpr ArgNames kLinearNames{
    "x",     "weight", "scale_a", "scale_b", "bias", "scale_result", "out_dtype",
    "alpha", "beta",   "c",       "azp",     "out",  "offs"};

inline constexpr ArgNames kExpertNames{
    "x",     "weight", "scale_a", "scale", "bias", "scale_result", "out_dtype",
    "alpha", "beta",   "c",       "azp",   "out",  "offs"};

inline constexpr ArgNames kQuantizeNames{
    "x",     "x",    "scale", "scale",  "bias", "scale_result", "dtype",
    "alpha", "beta", "c",     "azp_in", "out",  "offs"};

inline constexpr ArgNames kDequantizeNames{
    "q.data", "q.data", "q.scale", "q.scale", "bias", "scale_result", "out_dtype",
    "alpha",  "beta",   "c",       "q.azp",   "out",  "offs"};

/// The names of a gradient's arguments: those of the operation, and what takes its output's place.
constexpr ArgNames with_grad(ArgNames names, const char* grad) noexcept {
  names[static_cast<std::size_t>(Arg::out)] = grad;
  return names;
}
inline constexpr ArgNames kPlainVjpNames = with_grad(kPlainNames, "grad");
inline constexpr ArgNames kListVjpNames = with_grad(kListNames, "grads");
inline constexpr ArgNames kBatchVjpNames = with_grad(kBatchNames, "grad");
inline constexpr ArgNames kFunctionalVjpNames = with_grad(kFunctionalNames, "grad");
inline constexpr ArgNames kLinearVjpNames = with_grad(kLinearNames, "grad");
inline constexpr ArgNames kQuantizeVjpNames = with_grad(kQuantizeNames, "grad");
inline constexpr ArgNames kDequantizeVjpNames = with_grad(kDequantizeNames, "grad");

/// The place an error speaks of: an operation, its argument names and, in lists, an entry.
struct Site {
  const char* operation;
  const ArgNames* names = &kPlainNames;
  std::int64_t index = -1;

  /// "scaled_mm: a", "grouped_mm: inputs[2]".
  std::string operator()(Arg arg) const;
  /// The argument alone, for the middle of a sentence.
  std::string bare(Arg arg) const;
};

}  // namespace octavo
