// SPDX-License-Identifier: Apache-2.0
// How an operation names its arguments in the sentences of its errors.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace octavo {

/// The part that an argument plays, whatever an operation calls it.
enum class Arg : std::uint8_t {
  a,
  b,
  scale_a,
  scale_b,
  scale_ub,
  bias,
  scale_result,
  out_dtype,
  alpha,
  beta,
  c,
  azp,
  out,
  grad,
  offs,
  route_weights,
  route_ids,
  expert_map,
};

/// What an operation calls its arguments; scaled_mm's own names where it says nothing.
struct ArgNames {
  const char* a = "a";
  const char* b = "b";
  const char* scale_a = "scale_a";
  const char* scale_b = "scale_b";
  const char* scale_ub = "scale_ub";
  const char* bias = "bias";
  const char* scale_result = "scale_result";
  const char* out_dtype = "out_dtype";
  const char* alpha = "alpha";
  const char* beta = "beta";
  const char* c = "c";
  const char* azp = "azp";
  const char* out = "out";
  const char* grad = "grad";
  const char* offs = "offs";
  const char* route_weights = "topk_weights";
  const char* route_ids = "topk_ids";
  const char* expert_map = "expert_map";

  constexpr const char* operator[](Arg arg) const noexcept;
};

namespace detail {
// In the order of Arg.
inline constexpr auto kArgMembers = std::to_array<const char * ArgNames::*>(
    {&ArgNames::a, &ArgNames::b, &ArgNames::scale_a, &ArgNames::scale_b, &ArgNames::scale_ub,
     &ArgNames::bias, &ArgNames::scale_result, &ArgNames::out_dtype, &ArgNames::alpha,
     &ArgNames::beta, &ArgNames::c, &ArgNames::azp, &ArgNames::out, &ArgNames::grad,
     &ArgNames::offs, &ArgNames::route_weights, &ArgNames::route_ids, &ArgNames::expert_map});
static_assert(sizeof(ArgNames) == kArgMembers.size() * sizeof(const char*) &&
              kArgMembers.size() == static_cast<std::size_t>(Arg::expert_map) + 1);
}  // namespace detail

constexpr const char* ArgNames::operator[](Arg arg) const noexcept {
  return this->*detail::kArgMembers[static_cast<std::size_t>(arg)];
}

inline constexpr ArgNames kPlainNames{};
inline constexpr ArgNames kListNames{.a = "inputs",
                                     .b = "weights",
                                     .scale_a = "scales_a",
                                     .scale_b = "scales_b",
                                     .bias = "biases",
                                     .out = "outs",
                                     .grad = "grads"};
inline constexpr ArgNames kBatchNames{.a = "input", .b = "weight", .alpha = "scale"};
inline constexpr ArgNames kFunctionalNames{.a = "mat_a", .b = "mat_b", .out_dtype = "output_dtype"};
inline constexpr ArgNames kLinearNames{.a = "x", .b = "weight"};
inline constexpr ArgNames kExpertNames{.a = "x", .b = "weight", .scale_b = "scale"};
inline constexpr ArgNames kQuantizeNames{.a = "x",
                                         .b = "x",
                                         .scale_a = "scale",
                                         .scale_b = "scale",
                                         .out_dtype = "dtype",
                                         .azp = "azp_in"};
inline constexpr ArgNames kDequantizeNames{
    .a = "q.data", .b = "q.data", .scale_a = "q.scale", .scale_b = "q.scale", .azp = "q.azp"};

/// The names of a sentence about one tensor.
constexpr ArgNames named(const char* tensor) noexcept { return {.a = tensor}; }

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
