// SPDX-License-Identifier: Apache-2.0
// From the tensors of a checkpoint's layer to the canonical weight: a weight for each shard, fused.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/layers.hpp"
#include "octavo/w8a8_utils.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr const char* kName = "w8a8_weight";

/// What is particular to a scheme.
struct SchemeRule {
  std::string_view name;
  bool (*codes)(DType) noexcept;
  const char* types;
  bool blocks;
};
bool is_int8(DType dtype) noexcept { return dtype == DType::int8; }
constexpr std::array<SchemeRule, 3> kSchemes{{
    {"fp8-dynamic", is_float8, "a float8 type", false},
    {"int8-dynamic", is_int8, "int8", false},
    {"fp8-block", is_float8, "a float8 type", true},
}};

template <class... Args>
Status invalid(fmt::format_string<Args...> sentence, Args&&... args) {
  return fail(Code::invalid_argument, sentence, std::forward<Args>(args)...);
}

Result<SchemeRule> rule_of(std::string_view scheme) {
  const auto* row = std::ranges::find(kSchemes, scheme, &SchemeRule::name);
  if (row != kSchemes.end()) return *row;
  return invalid("{}: scheme must be fp8-dynamic, int8-dynamic or fp8-block; got {}", kName,
                 scheme);
}

Result<std::vector<std::int64_t>> widths_of(const LinearTensors& t, const W8A8Options& o) {
  const std::int64_t n = t.weight.shape[0];
  std::vector<std::int64_t> widths(o.logical_widths.begin(), o.logical_widths.end());
  if (widths.empty()) widths = {n};
  const bool good = std::ranges::all_of(widths, [](std::int64_t w) { return w >= 0; });
  const std::int64_t sum = std::accumulate(widths.begin(), widths.end(), std::int64_t{0});
  if (good && sum == n) return widths;
  return invalid("{}: logical_widths must be at least 0 and add up to N = {}; got a sum of {}",
                 kName, n, sum);
}

Status check_tensors(const SchemeRule& scheme, const LinearTensors& t, const W8A8Options& o) {
  const TensorView& w = t.weight;
  if (w.rank != 2 || !scheme.codes(w.dtype)) {
    return invalid("{}: weight must be {} [N, K]; got {} {}", kName, scheme.types, name(w.dtype),
                   shape_string(w));
  }
  const TensorView& s = t.weight_scale;
  if (!is_wide(s.dtype) && s.dtype != DType::float8_e8m0fnu) {
    return invalid(
        "{}: weight_scale.dtype must be float32, bfloat16, float16 or float8_e8m0fnu; got {}",
        kName, name(s.dtype));
  }
  using Kind = Granularity::Kind;
  if (o.activation.kind != Kind::token && o.activation.kind != Kind::tensor) {
    return invalid("{}: activation must be token or tensor; got {}", kName,
                   to_string(o.activation));
  }
  if (o.azp && !is_int8(w.dtype)) {
    return invalid("{}: azp must come with an int8 weight; got {}", kName, name(w.dtype));
  }
  if (scheme.blocks && (o.block.rows < 1 || o.block.cols < 1)) {
    return invalid("{}: block must have sizes of at least 1; got {} x {}", kName, o.block.rows,
                   o.block.cols);
  }
  return {};
}

// The scales of rows: a view of those given for each, or those of shards repeated.
Result<Tensor> row_scales(const LinearTensors& t, std::span<const std::int64_t> widths) {
  const TensorView& s = t.weight_scale;
  const auto shards = static_cast<std::int64_t>(widths.size());
  const std::int64_t n = t.weight.shape[0];
  const std::int64_t count = s.numel();
  const bool vector = s.rank == 1 || (s.rank == 2 && s.shape[1] == 1);
  if (count == 1 || (vector && count == shards)) {
    return w8a8_utils::convert_to_channelwise(s, widths);
  }
  if (vector && count == n) {
    const auto scale = std::make_shared<Tensor>(copy(s, DType::float32));
    TensorView column(scale->data(), DType::float32, {n, 1});
    column.device = s.device;
    return Tensor::adopt(scale, column);
  }
  return invalid(
      "{}: weight_scale.shape must be [1], [{}] (shards), [{}] or [{}, 1] (rows); got {}", kName,
      shards, n, n, shape_string(s));
}

Result<Tensor> block_scales(const LinearTensors& t, std::span<const std::int64_t> widths,
                            const ScaleGrid& block) {
  const TensorView& s = t.weight_scale;
  std::int64_t down = 0;
  for (const std::int64_t width : widths) down += cells(width, block.rows);
  const std::int64_t across = cells(t.weight.shape[1], block.cols);
  if (s.rank == 2 && s.shape[0] == down && s.shape[1] == across) return copy(s, DType::float32);
  return invalid("{}: weight_scale.shape must be [{}, {}] for blocks of {} x {}; got {}", kName,
                 down, across, block.rows, block.cols, shape_string(s));
}

Status check_scales(const Tensor& scales) {
  OCTAVO_TRY_ASSIGN(const std::vector<float> values, floats_of(kName, scales, nullptr));
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= 0.0F && !std::isinf(values[i])) continue;
    return invalid("{}: weight_scale must be loaded, finite and at least 0; got {} at element {}",
                   kName, values[i], i);
  }
  return {};
}

// ---- activations -------------------------------------------------------------------------------

ActivationQuant dynamic_rule(const SchemeRule& scheme, const LinearTensors& t,
                             const W8A8Options& o) {
  ActivationQuant rule;
  rule.spec.dtype = t.weight.dtype;
  rule.spec.granularity = scheme.blocks ? group(o.block.cols) : o.activation;
  rule.spec.azp = o.azp || t.input_zero_point.defined();
  rule.spec.scale_ub = o.input_scale_ub;
  return rule;
}

Status check_static(const SchemeRule& scheme, const LinearTensors& t, std::size_t shards) {
  const TensorView& s = t.input_scale;
  const TensorView& z = t.input_zero_point;
  if (!s.defined()) {
    if (!z.defined()) return {};
    return invalid("{}: input_zero_point must come with input_scale; got none", kName);
  }
  const auto count = static_cast<std::size_t>(s.numel());
  if (scheme.blocks || !is_wide(s.dtype) || (count != 1 && count != shards)) {
    return invalid(
        "{}: input_scale must be a float type of 1 or {} elements, without blocks; got {} "
        "{}{}",
        kName, shards, name(s.dtype), shape_string(s), scheme.blocks ? " with blocks" : "");
  }
  const bool integer = is_integer8(z.dtype) || z.dtype == DType::int32;
  if (!z.defined() || (integer && z.numel() == s.numel() && is_int8(t.weight.dtype))) return {};
  return invalid(
      "{}: input_zero_point must be integers, as many as input_scale, beside an int8 "
      "weight; got {} {} beside {}",
      kName, name(z.dtype), shape_string(z), name(t.weight.dtype));
}

/// The rule of each shard. An input_scale that is not loaded follows those that are.
Result<std::vector<ActivationQuant>> rules_of(const SchemeRule& scheme, const LinearTensors& t,
                                              const W8A8Options& o, std::size_t shards) {
  OCTAVO_TRY(check_static(scheme, t, shards));
  std::vector<ActivationQuant> rules(shards, dynamic_rule(scheme, t, o));
  if (!t.input_scale.defined()) return rules;
  OCTAVO_TRY_ASSIGN(const std::vector<float> scales, floats_of(kName, t.input_scale, nullptr));
  std::vector<std::int64_t> azps;
  if (t.input_zero_point.defined()) {
    OCTAVO_TRY_ASSIGN(azps, integers_of(kName, t.input_zero_point, nullptr));
  }
  const std::size_t count = scales.size();
  const ActivationQuant* loaded = nullptr;
  for (std::size_t i = 0; i < shards; ++i) {
    const std::size_t at = count == 1 ? 0 : i;
    ActivationQuant& rule = rules[i];
    rule.spec.granularity = per_tensor();
    rule.static_scale = scales[at];
    if (!azps.empty()) rule.static_azp = static_cast<std::int32_t>(azps[at]);
    if (rule.static_scale == w8a8_utils::kUnsetScale) continue;
    if (!(rule.static_scale > 0.0F) || std::isinf(rule.static_scale)) {
      return invalid("{}: input_scale must be finite and above 0; got {}", kName,
                     rule.static_scale);
    }
    loaded = &rule;
  }
  if (loaded == nullptr) return invalid("{}: input_scale must be loaded; got none", kName);
  const ActivationQuant last = *loaded;
  for (ActivationQuant& rule : rules) {
    if (rule.static_scale == w8a8_utils::kUnsetScale) rule = last;
  }
  return rules;
}

Result<Weight> fused(const SchemeRule& scheme, const LinearTensors& t, const W8A8Options& o,
                     std::span<const std::int64_t> widths) {
  Tensor scales;
  if (scheme.blocks) {
    OCTAVO_TRY_ASSIGN(scales, block_scales(t, widths, o.block));
  } else {
    OCTAVO_TRY_ASSIGN(scales, row_scales(t, widths));
  }
  OCTAVO_TRY(check_scales(scales));
  OCTAVO_TRY_ASSIGN(const std::vector<ActivationQuant> rules,
                    rules_of(scheme, t, o, widths.size()));
  const ScaleGrid grid = scheme.blocks ? o.block : ScaleGrid{1, kWholeExtent};
  std::vector<Weight> shards;
  std::int64_t row = 0;
  std::int64_t cell = 0;
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const std::int64_t end = row + widths[i];
    const std::int64_t last = cell + cells(widths[i], grid.rows);
    Weight shard;
    shard.codes.data = Tensor::adopt(nullptr, t.weight.slice(0, row, end));
    shard.codes.scale = Tensor::adopt(nullptr, scales.view().slice(0, cell, last));
    shard.codes.grid = grid;
    shard.activation = rules[i];
    shard.scheme = scheme.name;
    row = end;
    cell = last;
    if (widths[i] > 0 || (shards.empty() && i + 1 == widths.size())) shards.push_back(shard);
  }
  if (shards.size() > 1) return fuse(shards);
  Weight only = shards[0];  // of its own memory, as every other
  only.codes.data = copy(only.codes.data, t.weight.dtype);
  only.codes.scale = copy(only.codes.scale, DType::float32);
  return only;
}

Result<Weight> run_on_host(std::string_view name, const LinearTensors& given,
                           const W8A8Options& o) {
  OCTAVO_TRY_ASSIGN(const SchemeRule scheme, rule_of(name));
  OCTAVO_TRY(check_tensors(scheme, given, o));
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> widths, widths_of(given, o));
  if (!o.requantize) return fused(scheme, given, o, widths);
  if (scheme.blocks) {
    return invalid("{}: requantize must be false with blocks of the weight; got true", kName);
  }
  const w8a8_utils::Requantized one =
      w8a8_utils::requantize_with_max_scale(given.weight, given.weight_scale, widths);
  LinearTensors t = given;
  t.weight = one.weight;
  t.weight_scale = one.scale;
  return fused(scheme, t, o, widths);
}

// A device's tensors are read and stacked on the host, and their weight goes back.
Result<Weight> run(std::string_view name, const LinearTensors& given, const W8A8Options& o) {
  const Device device = given.weight.device;
  if (on_host(device)) return run_on_host(name, given, o);
  LinearTensors near = given;
  std::vector<Tensor> owned;
  for (TensorView* v :
       {&near.weight, &near.weight_scale, &near.input_scale, &near.input_zero_point}) {
    if (v->defined()) *v = owned.emplace_back(copy(*v, Place{}));
  }
  OCTAVO_TRY_ASSIGN(Weight weight, run_on_host(name, near, o));
  weight.codes.data = weight.codes.data.to(Place{device});
  weight.codes.scale = weight.codes.scale.to(Place{device});
  return weight;
}

}  // namespace

Weight w8a8_weight(const char* scheme, const LinearTensors& tensors, const W8A8Options& options) {
  return at_edge(kName, [&] { return run(scheme, tensors, options); });
}

}  // namespace octavo
