// SPDX-License-Identifier: Apache-2.0
// linear: any-rank activations, fused quantisation, packed weight.
#include "octavo/linear.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

Status check_x(const Site& site, const TensorView& x, const Operand& weight) {
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (weight.packed != nullptr && !weight.packed->defined()) {
    return fail(Code::invalid_argument, "{} must be packed; got an empty one", site(Arg::b));
  }
  // A tensor of another rank is refused by the product's own rules.
  if (weight.packed == nullptr && weight.data.rank != 2)
    return check_tensor(site, Arg::b, weight.data);
  const std::int64_t k = weight_rows(weight);
  const std::int64_t last = x.rank > 0 ? x.shape[static_cast<std::size_t>(x.rank - 1)] : -1;
  if (last == k) return {};
  return fail(Code::invalid_argument, "{}.shape must be [..., K = {}]; got {}", site(Arg::a), k,
              shape_string(x));
}

// What a call says of LLM.int8's outliers.
Status check_outliers(const Site& site, const TensorView& x, const Operand& weight,
                      const ActivationQuant* rule, const LinearOptions& o) {
  const bool llm_int8 = rule != nullptr && rule->vectorwise;
  const std::int64_t k = weight_rows(weight);
  const std::int64_t n = weight_columns(weight);
  const auto invalid = [&](const char* argument, const TensorView& v) {
    return fail(Code::invalid_argument,
                "{}: {} must come with LLM.int8's rule (activation.vectorwise); got "
                "{} without",
                site.operation, argument, shape_string(v));
  };
  if (o.outlier_columns.defined()) {
    if (!llm_int8) return invalid("outlier_columns", o.outlier_columns);
    OCTAVO_TRY(check_columns(site.operation, "outlier_columns", o.outlier_columns, k, "x"));
  }
  if (!o.outlier_weight.defined()) return {};
  if (!llm_int8) return invalid("outlier_weight", o.outlier_weight);
  const TensorView& w = o.outlier_weight;
  static constexpr ArgNames kNames = named("outlier_weight");
  OCTAVO_TRY(check_float({site.operation, &kNames}, Arg::a, w));
  OCTAVO_TRY(
      check_device_of(fmt::format("{}: outlier_weight", site.operation), w.device, "x", x.device));
  if (w.rank == 2 && w.shape[0] == k && w.shape[1] == n) return {};
  return fail(Code::invalid_argument, "{}: outlier_weight.shape must be [K = {}, N = {}]; got {}",
              site.operation, k, n, shape_string(w));
}

// The columns of both lists, ascending, each once.
Result<std::vector<std::int64_t>> united(const char* operation, const TensorView& a,
                                         const TensorView& b, void* stream) {
  std::vector<std::int64_t> all;
  for (const TensorView* list : {&a, &b}) {
    if (!list->defined()) continue;
    OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> columns,
                      integers_of(operation, *list, stream));
    all.insert(all.end(), columns.begin(), columns.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

// How many columns a call found; the host waits for the number.
Result<std::vector<std::int64_t>> found_columns(const char* operation, const CallRule& call,
                                                void* stream) {
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> count,
                    integers_of(operation, call.count, stream));
  return integers_of(operation, call.found.view().slice(0, 0, count.front()), stream);
}

Result<Tensor> run_linear(const TensorView& x, const Operand& weight, const ActivationQuant* rule,
                          const LinearOptions& o, const ExecContext& context) {
  const Site site{"linear", &kLinearNames};
  if (o.found_columns != nullptr) o.found_columns->clear();
  OCTAVO_TRY_ASSIGN(LinearArguments arguments, linear_arguments(site, x, weight, rule, o, context));
  CallRule call;
  OCTAVO_TRY(extend_rule(site.operation, o, weight_rows(weight), context, call, arguments.a));
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, arguments.a, weight, arguments.options));
  lowered.problem.single.epilogue.outliers.weight = o.outlier_weight;

  OCTAVO_TRY_ASSIGN(const FlatOut out,
                    flatten_out(site, x, lowered.extents.n, lowered.out_dtype, o.out, context));
  lowered.problem.single.out = out.rows.view;
  if (o.out.defined()) OCTAVO_TRY(check_no_overlap(site, lowered.problem));
  OCTAVO_TRY(run_problem(lowered.problem, context, o.backend));
  OCTAVO_TRY(out.finish(site.operation, context));
  if (call.found.defined()) {
    OCTAVO_TRY_ASSIGN(*o.found_columns, found_columns(site.operation, call, context.stream));
  }
  return out.tensor;
}

}  // namespace

Status extend_rule(const char* operation, const LinearOptions& o, std::int64_t k,
                   const ExecContext& context, CallRule& call, Operand& a) {
  if (a.quantize == nullptr) return {};
  const bool wanted = o.found_columns != nullptr && a.quantize->vectorwise;
  if (!wanted && !o.outlier_columns.defined()) return {};
  const Place place = context.place(a.data.device);
  call.rule = *a.quantize;
  if (o.outlier_columns.defined()) {
    OCTAVO_TRY_ASSIGN(call.columns, united(operation, call.rule.outlier_columns, o.outlier_columns,
                                           context.stream));
    OCTAVO_TRY_ASSIGN(call.rule.outlier_columns, tensor_of(operation, call.columns, place));
  }
  if (wanted) {
    const std::array<std::int64_t, 1> room{k};
    const std::array<std::int64_t, 1> one{1};
    OCTAVO_TRY_ASSIGN(call.found, Tensor::try_empty(operation, DType::int64, room, place));
    OCTAVO_TRY_ASSIGN(call.count, filled(operation, DType::int64, one, 0.0F, place));
    call.rule.found_columns = call.found;
    call.rule.found_count = call.count.data_as<std::int64_t>();
  }
  a.quantize = &call.rule;
  return {};
}

Result<LinearArguments> linear_arguments(const Site& site, const TensorView& x,
                                         const Operand& weight, const ActivationQuant* rule,
                                         const LinearOptions& o, const ExecContext& context) {
  OCTAVO_TRY(check_x(site, x, weight));
  OCTAVO_TRY(check_outliers(site, x, weight, rule, o));
  LinearArguments arguments;
  OCTAVO_TRY_ASSIGN(arguments.rows, flatten_rows(site.operation, x, context));
  arguments.a = Operand(arguments.rows.view);
  arguments.a.quantize = rule;
  arguments.options.bias = o.bias;
  arguments.options.out_dtype = o.out_dtype == DType::undefined ? x.dtype : o.out_dtype;
  arguments.options.matmul = o.matmul;
  return arguments;
}

Tensor linear(const TensorView& x, const PackedWeight& weight, const LinearOptions& options,
              const ExecContext& context) {
  const ActivationQuant* rule = weight.activation() ? &*weight.activation() : nullptr;
  return at_edge("linear", [&] { return run_linear(x, weight, rule, options, context); });
}

Tensor linear(const TensorView& x, const Operand& weight, const ActivationQuant& rule,
              const LinearOptions& options, const ExecContext& context) {
  return at_edge("linear", [&] { return run_linear(x, weight, &rule, options, context); });
}

}  // namespace octavo
