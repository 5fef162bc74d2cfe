// SPDX-License-Identifier: Apache-2.0
// What fused_experts, and experts on several ranks, are held to.
#include <array>
#include <utility>

#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/scales/quantize_rules.hpp"
#include "layers/activations.hpp"
#include "layers/fused_experts.hpp"
#include "ops/rules.hpp"

namespace octavo {
namespace {

constexpr ArgNames kNames13{.a = "x", .b = "w13", .bias = "bias13"};
constexpr ArgNames kNames2{.a = "x", .b = "w2", .bias = "bias2"};

Status check_x(const Site& site, const TensorView& x, const ExpertWeights& w13) {
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (x.rank > 0 && x.shape[static_cast<std::size_t>(x.rank - 1)] == w13.k()) return {};
  return fail(Code::invalid_argument, "{}.shape must be [..., K = {}]; got {}", site(Arg::a),
              w13.k(), shape_string(x));
}

Status check_matrix(const Site& site, Arg arg, const TensorView& v, std::int64_t rows,
                    std::int64_t cols) {
  OCTAVO_TRY(check_tensor(site, arg, v));
  const bool any = cols < 0;
  if (v.rank == 2 && v.shape[0] == rows && (any || v.shape[1] == cols)) return {};
  return fail(Code::invalid_argument, "{}.shape must be [{}, {}]; got {}", site(arg), rows,
              any ? "T" : std::to_string(cols), shape_string(v));
}

Status check_routing(const Site& site, const ExpertTensors& t, std::int64_t rows) {
  OCTAVO_TRY(check_matrix(site, Arg::route_ids, t.ids, rows, -1));
  if (t.ids.dtype != DType::int32 && t.ids.dtype != DType::int64) {
    return fail(Code::invalid_argument, "{}.dtype must be int32 or int64; got {}",
                site(Arg::route_ids), name(t.ids.dtype));
  }
  OCTAVO_TRY(check_float(site, Arg::route_weights, t.weights));
  return check_matrix(site, Arg::route_weights, t.weights, rows, t.ids.shape[1]);
}

Status check_bias(const Site& site, const TensorView& bias, const ExpertWeights& w) {
  if (!bias.defined()) return {};
  OCTAVO_TRY(check_float(site, Arg::bias, bias));
  return check_matrix(site, Arg::bias, bias, w.experts(), w.n());
}

Status check_map(const Site& site, const TensorView& map) {
  if (!map.defined()) return {};
  OCTAVO_TRY(check_tensor(site, Arg::expert_map, map));
  if (map.rank == 1 && map.dtype == DType::int32) return {};
  return fail(Code::invalid_argument, "{} must be int32 [ids]; got {} {}", site(Arg::expert_map),
              name(map.dtype), shape_string(map));
}

std::string spelled(const Granularity& g) {
  return g.kind == Granularity::Kind::tensor ? "tensor" : to_string(g);
}

// How x, or what the activation function makes, meets the experts.
Status check_rule(const Site& site, const ExpertWeights& w, DType x, const MatmulOptions& options) {
  if (!w.activation()) return check_pair(site, x, w.dtype());
  const ActivationQuant& rule = *w.activation();
  if (rule.outlier_threshold > 0.0F) {
    return fail(Code::unsupported,
                "{}.activation.outlier_threshold must be 0 (outlier columns depend on all rows); "
                "got {}",
                site(Arg::b), rule.outlier_threshold);
  }
  if (rule.outlier_columns.defined()) {
    return fail(Code::unsupported,
                "{}.activation.outlier_columns must be undefined (experts have no float columns); "
                "got {}",
                site(Arg::b), shape_string(rule.outlier_columns));
  }
  if (rule.rotation != 0 && !on_host(w.device())) {
    return fail(Code::unavailable, "{}.activation.rotation must be 0 but on the CPU; got {} on {}",
                site(Arg::b), rule.rotation, device_string(w.device()));
  }
  if (options.batch_invariant && !rows_apart(rule)) {
    return fail(Code::invalid_argument,
                "{}: options.batch_invariant must come with per-token, per-group or "
                "static activation scales; got {}",
                site.operation, spelled(rule.spec.granularity));
  }
  if (rule.spec.azp && !is_integer8(w.dtype())) {
    return fail(Code::invalid_argument, "{}.activation.azp must come with integer weights; got {}",
                site(Arg::b), name(w.dtype()));
  }
  return check_pair(site, rule.vectorwise ? DType::int8 : rule.spec.dtype, w.dtype());
}

}  // namespace

Status check_experts(const char* operation, const ExpertWeights& w13, const ExpertWeights& w2) {
  for (const auto& [names, w] : {std::pair{&kNames13, &w13}, std::pair{&kNames2, &w2}}) {
    if (w->defined()) continue;
    return fail(Code::invalid_argument, "{}: {} must be packed experts; got empty ones", operation,
                names->b);
  }
  if (w2.experts() != w13.experts()) {
    return fail(Code::invalid_argument, "{}: w2.experts must equal w13.experts = {}; got {}",
                operation, w13.experts(), w2.experts());
  }
  if (w13.n() != 2 * w2.k()) {
    return fail(Code::invalid_argument, "{}: w13.n must be 2 * w2.k = {} (gate, then up); got {}",
                operation, 2 * w2.k(), w13.n());
  }
  return {};
}

Result<ExpertCall> expert_call(const char* operation, const ExpertTensors& t,
                               const ExpertWeights& w13, const ExpertWeights& w2,
                               std::int64_t experts, const FusedExpertsOptions& o,
                               const ExecContext& context) {
  const Site site13{operation, &kNames13};
  const Site site2{operation, &kNames2};
  OCTAVO_TRY(check_experts(operation, w13, w2));
  OCTAVO_TRY(check_x(site13, t.x, w13));
  ExpertCall call;
  call.operation = operation;
  OCTAVO_TRY_ASSIGN(call.flat, flatten_rows(operation, t.x, context));
  call.x = call.flat.view;
  call.x_dtype = call.x.dtype;
  call.w13 = &w13;
  call.w2 = &w2;
  OCTAVO_TRY(check_rule(site13, w13, call.x_dtype, o.matmul));
  OCTAVO_TRY(check_rule(site2, w2, call.x_dtype, o.matmul));
  if (w2.activation() && w2.activation()->spec.non_finite == NonFinite::error) {
    return fail(Code::unsupported,
                "{}: w2.activation.non_finite must be propagate (its rows are made on the fly); "
                "got error",
                operation);
  }
  OCTAVO_TRY(check_bias(site13, o.bias13, w13));
  OCTAVO_TRY(check_bias(site2, o.bias2, w2));
  call.bias13 = o.bias13;
  call.bias2 = o.bias2;
  OCTAVO_TRY(check_routing(site13, t, call.x.shape[0]));
  OCTAVO_TRY(check_map(site13, o.expert_map));
  call.out_dtype = o.out_dtype == DType::undefined ? call.x_dtype : o.out_dtype;
  if (!is_floating(call.out_dtype)) {
    return fail(Code::invalid_argument,
                "{}: out_dtype must be a float type of at most 32 bits; got {}", operation,
                name(call.out_dtype));
  }
  OCTAVO_TRY_ASSIGN(call.routing,
                    find_routes(site13, {t.ids, t.weights, o.expert_map}, experts, context.stream));
  call.factors_on_input = o.apply_router_weight_on_input;
  call.options = o.matmul;
  return call;
}

Result<FlatOut> expert_out(const ExpertCall& call, const ExpertTensors& t,
                           const FusedExpertsOptions& o, const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(FlatOut out, flatten_out({call.operation, &kNames13}, t.x, call.w2->n(),
                                             call.out_dtype, o.out, context));
  const std::pair<const TensorView&, const char*> inputs[] = {
      {t.x, "x"},           {t.weights, "topk_weights"}, {t.ids, "topk_ids"},
      {o.bias13, "bias13"}, {o.bias2, "bias2"},          {o.expert_map, "expert_map"}};
  for (const auto& [view, word] : inputs) {
    if (!o.out.defined() || !overlap(o.out, view)) continue;
    return fail(Code::invalid_argument, "{}: out must not overlap {}; got shared memory",
                call.operation, word);
  }
  return out;
}

Status check_rows(const ExpertCall& call, const Backend& backend, const ExecContext& context) {
  const auto& rule = call.w13->activation();
  if (!rule || rule->vectorwise || rule->spec.non_finite != NonFinite::error) return {};
  return backend.passes.check_finite({call.operation, call.x}, context);
}

}  // namespace octavo
