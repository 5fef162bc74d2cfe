// SPDX-License-Identifier: Apache-2.0
#include "parallel/expert_checks.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <vector>

#include "octavo/octavo.hpp"
#include "parallel/random.hpp"

namespace octavo::test {
namespace {

struct ExpertKind {
  const char* name;
  DType weight;
  Granularity scale;  // of an expert [N, K], as of an operand A; automatic: none
  std::optional<DType> activation;
  Granularity rule = per_token();
  bool azp = false;
  float static_scale = 0.0F;
  std::int32_t static_azp = 0;
  ScaleRounding rounding = ScaleRounding::none;
  DType scale_dtype = DType::float32;
  bool vectorwise = false;
};

using enum DType;
const std::array kExpertKinds{
    ExpertKind{"int8", int8, per_token(), int8},
    ExpertKind{"int8 per tensor", int8, per_tensor(), int8},
    ExpertKind{"int8 static", int8, per_token(), int8, per_tensor(), false, 0.02F},
    ExpertKind{"int8 azp", int8, per_token(), int8, per_token(), true},
    ExpertKind{"uint8 azp", int8, per_token(), uint8, per_token(), true},
    ExpertKind{"uint8 static azp", int8, per_token(), uint8, per_tensor(), true, 0.02F, 300},
    ExpertKind{"int8 groups", int8, group(16), int8, group(16)},
    ExpertKind{"fp8", float8_e4m3fn, per_token(), float8_e4m3fn},
    ExpertKind{"fp8 static", float8_e4m3fn, per_token(), float8_e4m3fn, per_tensor(), false, 0.01F},
    ExpertKind{"fp8 blocks", float8_e4m3fn, block(16, 32), float8_e4m3fn, group(32)},
    ExpertKind{"mx", float8_e4m3fn, group(32), float8_e4m3fn, group(32), false, 0.0F, 0,
               ScaleRounding::mx_floor, float8_e8m0fnu},
    ExpertKind{"llm-int8 without outliers", int8, per_token(), int8, per_token(), false, 0.0F, 0,
               ScaleRounding::none, float32, true},
    ExpertKind{"bfloat16", bfloat16, Granularity{}, std::nullopt},
    ExpertKind{"float32", float32, Granularity{}, std::nullopt},
    ExpertKind{"int8 weight only", int8, per_token(), std::nullopt},
    ExpertKind{"fp8 weight only", float8_e4m3fn, group(64), std::nullopt},
};

constexpr std::int64_t kRuled = 12;

/// Stored experts [E, N, K] with their scales.
struct Experts {
  Tensor codes, scale;
  Granularity granularity;
  std::optional<ActivationQuant> rule;

  ExpertWeights packed(std::int64_t begin, std::int64_t end) const {
    PackExpertsOptions options;
    if (scale.defined()) {
      options.scale = Scale(scale.view().slice(0, begin, end), granularity);
    }
    options.activation = rule;
    return pack_experts(codes.view().slice(0, begin, end), options);
  }
};

Tensor stacked(const std::vector<Tensor>& parts, const Tensor& one) {
  const auto count = static_cast<std::int64_t>(parts.size());
  const Tensor all = Tensor::empty(one.dtype(), {count, one.size(0), one.size(1)});
  const std::int64_t bytes = one.numel() * element_bytes(one.dtype());
  for (std::int64_t e = 0; e < count && bytes > 0; ++e) {
    std::memcpy(all.data_as<char>() + e * bytes, parts[static_cast<std::size_t>(e)].data(),
                static_cast<std::size_t>(bytes));
  }
  return all;
}

Experts some_experts(const ExpertKind& kind, std::int64_t count, std::int64_t n, std::int64_t k,
                     Dice& dice) {
  const bool plain = kind.scale.kind == Granularity::Kind::automatic;
  std::vector<Tensor> codes, scales;
  // One more: what the parts look like where there are none.
  for (std::int64_t e = 0; e <= count; ++e) {
    const Tensor floats = dice.floats(float32, {n, k});
    if (plain) {
      codes.push_back(floats.to(kind.weight));
      continue;
    }
    const Quantized q = quantize(floats, {.dtype = kind.weight,
                                          .granularity = kind.scale,
                                          .rounding = kind.rounding,
                                          .scale_dtype = kind.scale_dtype});
    codes.push_back(q.data);
    scales.push_back(q.scale);
  }
  Experts experts;
  const Tensor one = codes.back();
  codes.pop_back();
  experts.codes = stacked(codes, one);
  if (!plain) {
    const Tensor scale = scales.back();
    scales.pop_back();
    experts.scale = stacked(scales, scale);
    experts.granularity = kind.scale.kind == Granularity::Kind::token ? per_channel() : kind.scale;
  }
  if (!kind.activation) return experts;
  ActivationQuant& rule = experts.rule.emplace();
  rule.spec.dtype = *kind.activation;
  rule.spec.granularity = kind.rule;
  rule.spec.azp = kind.azp;
  rule.spec.rounding = kind.rounding;
  rule.spec.scale_dtype = kind.scale_dtype;
  rule.static_scale = kind.static_scale;
  rule.static_azp = kind.static_azp;
  rule.vectorwise = kind.vectorwise;
  return experts;
}

struct Tokens {
  Tensor x, weights, ids, grad;
  Tensor wide_ids;  // ids as int64
};

// Of one rank: none, few or many; to all experts, to one, or to nobody.
Tokens some_tokens(std::int64_t slots, std::int64_t k, std::int64_t n, std::int64_t experts,
                   DType dtype, DType grad, Dice& dice) {
  const std::int64_t m = dice.number(3) == 0 ? 0 : dice.number(9);
  Tokens tokens;
  const Tensor x = dice.floats(float32, {m, k});
  disturb(x, dice);
  tokens.x = x.to(dtype);
  tokens.grad = dice.floats(grad, {m, n});
  tokens.weights = dice.floats(float32, {m, slots});
  tokens.ids = Tensor::empty(dice.number(1) == 0 ? int32 : int64, {m, slots});
  tokens.wide_ids = Tensor::empty(int64, {m, slots});
  const std::int64_t favourite = dice.number(2) == 0 ? dice.number(experts) - 1 : -2;
  for (std::int64_t i = 0; i < m * slots; ++i) {
    const std::int64_t id = favourite == -2 ? dice.number(experts) - 1 : favourite;
    tokens.wide_ids.data_as<std::int64_t>()[i] = id;
    if (tokens.ids.dtype() == int32) {
      tokens.ids.data_as<std::int32_t>()[i] = static_cast<std::int32_t>(id);
    } else {
      tokens.ids.data_as<std::int64_t>()[i] = id;
    }
  }
  return tokens;
}

// Tensors of all ranks, one below the other.
Tensor below(const std::vector<Tokens>& tokens, Tensor Tokens::*member, DType dtype) {
  std::int64_t rows = 0;
  for (const Tokens& t : tokens) rows += (t.*member).size(0);
  const Tensor all = Tensor::empty(dtype, {rows, (tokens.front().*member).size(1)});
  std::int64_t next = 0;
  for (const Tokens& t : tokens) {
    const Tensor part = (t.*member).to(dtype);
    const std::int64_t bytes = part.numel() * element_bytes(dtype);
    if (bytes > 0)
      std::memcpy(all.data_as<char>() + next, part.data(), static_cast<std::size_t>(bytes));
    next += bytes;
  }
  return all;
}

TensorView of_experts(const Tensor& bias, const ShardRange& range) {
  return bias.defined() ? bias.view().slice(0, range.begin, range.end) : TensorView();
}

}  // namespace

int expert_kinds() { return static_cast<int>(kExpertKinds.size()); }

std::string check_random_experts(const std::shared_ptr<Communicator>& ranks, std::uint64_t seed) {
  Dice dice(seed * 6007 + 11);
  const ExpertKind& kind = kExpertKinds[seed % kExpertKinds.size()];
  // Those with a rule come first: any two of them meet.
  const bool mixed = kind.activation && dice.number(2) == 0;
  const ExpertKind& second =
      mixed ? kExpertKinds[static_cast<std::size_t>(dice.number(kRuled - 1))] : kind;
  const std::int64_t experts = dice.number(9);
  const std::int64_t slots = dice.number(4);
  const std::int64_t k = dice.number(150), inner = dice.number(70), n = 1 + dice.number(40);
  const Experts w13 = some_experts(kind, experts, 2 * inner, k, dice);
  const Experts w2 = some_experts(second, experts, n, inner, dice);
  const bool plain = !kind.activation;
  const DType dtype = plain && is_wide(kind.weight)   ? kind.weight
                      : !plain && dice.number(1) == 0 ? float32
                                                      : bfloat16;
  Tensor bias13, bias2;
  if (dice.number(1) == 0) bias13 = dice.floats(bfloat16, {experts, 2 * inner});
  if (dice.number(1) == 0) bias2 = dice.floats(float32, {experts, n});
  FusedExpertsOptions options;
  options.apply_router_weight_on_input = dice.number(3) == 0;
  if (dice.number(1) == 0) options.out_dtype = float32;
  const DType grad = dice.number(1) == 0 ? bfloat16 : float32;
  const GradientOptions gradients{.float32 = dice.number(3) == 0};
  const FusedExpertsWanted wanted{.x = dice.number(3) != 0,
                                  .topk_weights = dice.number(3) != 0,
                                  .bias13 = bias13.defined() && dice.number(3) != 0,
                                  .bias2 = bias2.defined() && dice.number(3) != 0};
  std::vector<Tokens> tokens;
  for (int r = 0; r < ranks->size(); ++r) {
    tokens.push_back(some_tokens(slots, k, n, experts, dtype, grad, dice));
  }

  const ShardRange own = expert_range(experts, ranks->rank(), ranks->size());
  const ExpertParallelMoE layer(w13.packed(own.begin, own.end), w2.packed(own.begin, own.end),
                                experts, ranks, of_experts(bias13, own), of_experts(bias2, own));
  const Tokens& t = tokens[static_cast<std::size_t>(ranks->rank())];
  const Tensor got = layer(t.x, t.weights, t.ids, options);
  const FusedExpertsGradients d =
      layer.vjp(t.grad, t.x, t.weights, t.ids, options, wanted, gradients);
  options.bias13 = bias13;
  options.bias2 = bias2;
  const ExpertWeights all13 = w13.packed(0, experts);
  const ExpertWeights all2 = w2.packed(0, experts);
  const char* wrong = nullptr;
  if (!same(got, fused_experts(t.x, all13, all2, t.weights, t.ids, options))) wrong = "result";
  const FusedExpertsGradients of_rank =
      fused_experts_vjp(t.grad, t.x, all13, all2, t.weights, t.ids, options, wanted, gradients);
  const FusedExpertsGradients of_all = fused_experts_vjp(
      below(tokens, &Tokens::grad, grad), below(tokens, &Tokens::x, dtype), all13, all2,
      below(tokens, &Tokens::weights, float32), below(tokens, &Tokens::wide_ids, int64), options,
      {.bias13 = wanted.bias13, .bias2 = wanted.bias2}, gradients);
  const auto differs = [](const Tensor& a, const TensorView& b) {
    return a.defined() != b.defined() || (a.defined() && !same(a, copy(b, b.dtype)));
  };
  if (differs(d.x, of_rank.x)) wrong = "gradient of x";
  if (differs(d.topk_weights, of_rank.topk_weights)) wrong = "gradient of topk_weights";
  if (differs(d.bias13, of_experts(of_all.bias13, own))) wrong = "gradient of bias13";
  if (differs(d.bias2, of_experts(of_all.bias2, own))) wrong = "gradient of bias2";
  if (wrong == nullptr) return {};
  return fmt::format("{}: {}, {}: {} experts {}x{}x{}, {} tokens of {} slots on rank {} of {}{}",
                     wrong, kind.name, second.name, experts, k, inner, n, t.x.size(0), slots,
                     ranks->rank(), ranks->size(),
                     options.apply_router_weight_on_input ? ", weights on the input" : "");
}

}  // namespace octavo::test
