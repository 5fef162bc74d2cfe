// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/declared/kv_cache.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

namespace octavo::checkpoint {
namespace {

constexpr std::array<std::string_view, 6> kCacheParts{
    "k_scale", "v_scale", "q_scale", "k_zero_point", "v_zero_point", "prob_output_scale"};
/// ModelOpt's names beside a projection, and compressed-tensors' beside the attention.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNames{
    {{".k_proj.k_scale", ".k_scale"},
     {".v_proj.v_scale", ".v_scale"},
     {".k_proj.k_zero_point", ".k_zero_point"},
     {".v_proj.v_zero_point", ".v_zero_point"}}};

std::string scheme_text(std::string_view type, std::string_view bits, std::string_view strategy,
                        bool symmetric, bool dynamic) {
  return fmt::format(R"({{"num_bits":{},"type":"{}","strategy":"{}","symmetric":{},"dynamic":{}}})",
                     bits, type, strategy, symmetric, dynamic);
}

}  // namespace

std::string kv_cache_scheme(const JsonValue& config) {
  const JsonValue scheme = config["kv_cache_scheme"];
  if (scheme.is_object()) {
    const std::string_view strategy = scheme["strategy"].text();
    const std::string_view type = scheme["type"].text();
    const JsonValue bits = scheme["num_bits"];
    return scheme_text(type.empty() ? "float" : type, bits.is_integer() ? bits.spelled() : "8",
                       strategy.empty() ? "tensor" : strategy, !scheme["symmetric"].is(false),
                       scheme["dynamic"].is(true));
  }
  const std::string_view algorithm = config["kv_cache_quant_algo"].text();
  if (algorithm == "FP8" || algorithm == "fp8")
    return scheme_text("float", "8", "tensor", true, false);
  if (algorithm == "INT8" || algorithm == "int8")
    return scheme_text("int", "8", "tensor", true, false);
  return {};
}

bool is_of_kv_cache(std::string_view last) noexcept {
  return std::ranges::find(kCacheParts, last) != kCacheParts.end();
}

std::string kv_cache_name(std::string_view tensor) {
  for (const auto& [inside, beside] : kNames) {
    if (tensor.ends_with(inside)) {
      return std::string(tensor.substr(0, tensor.size() - inside.size())).append(beside);
    }
  }
  return std::string(tensor);
}

}  // namespace octavo::checkpoint
