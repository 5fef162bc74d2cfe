// SPDX-License-Identifier: Apache-2.0
// linear: any-rank activations, fused quantisation, packed weight.
#include "octavo/linear.hpp"

#include <algorithm>
#include <array>

#include "core/element.hpp"
#include "core/error.hpp"
#include "core/operand.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"

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
Status check_outliers(const Site& site, const Operand& weight, const ActivationQuant* rule,
                      const LinearOptions& o) {
  const bool llm_int8 = rule != nullptr && rule->vectorwise;
  const std::int64_t k = weight_rows(weight);
  const std::int64_t n = weight_columns(weight);
  const auto refuse = [&](const char* argument, const TensorView& v) {
    return fail(Code::invalid_argument,
                "{}: {} must come with LLM.int8's rule (activation.vectorwise); got "
                "{} without",
                site.operation, argument, shape_string(v));
  };
  if (o.outlier_columns.defined()) {
    if (!llm_int8) return refuse("outlier_columns", o.outlier_columns);
    OCTAVO_TRY(check_columns(site.operation, "outlier_columns", o.outlier_columns, k, "x"));
  }
  if (!o.outlier_weight.defined()) return {};
  if (!llm_int8) return refuse("outlier_weight", o.outlier_weight);
  const TensorView& w = o.outlier_weight;
  ArgNames names = kLinearNames;
  names[static_cast<std::size_t>(Arg::b)] = "outlier_weight";
  OCTAVO_TRY(check_float({site.operation, &names}, Arg::b, w));
  if (w.rank == 2 && w.shape[0] == k && w.shape[1] == n) return {};
  return fail(Code::invalid_argument, "{}: outlier_weight.shape must be [K = {}, N = {}]; got {}",
              site.operation, k, n, shape_string(w));
}

// The columns of both lists, ascending, each once.
Result<Tensor> united(const char* operation, const TensorView& a, const TensorView& b) {
  const auto at = [](const TensorView& v, std::int64_t i) {
    return load_int(v.dtype, v.data, i * v.strides[0]);
  };
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < a.shape[0]; ++i) all.push_back(at(a, i));
  for (std::int64_t i = 0; i < b.shape[0]; ++i) all.push_back(at(b, i));
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  const std::array<std::int64_t, 1> count{static_cast<std::int64_t>(all.size())};
  OCTAVO_TRY_ASSIGN(Tensor list, Tensor::try_empty(operation, DType::int64, count));
  std::copy(all.begin(), all.end(), list.data_as<std::int64_t>());
  return list;
}

Result<Tensor> run_linear(const TensorView& x, const Operand& weight, const ActivationQuant* rule,
                          const LinearOptions& o, const ExecContext& context) {
  const Site site{"linear", &kLinearNames};
  if (o.found_columns != nullptr) o.found_columns->clear();
  OCTAVO_TRY_ASSIGN(LinearArguments arguments, linear_arguments(site, x, weight, rule, o));
  CallRule call;
  OCTAVO_TRY(extend_rule(site.operation, o, weight_rows(weight), call, arguments.a));
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, arguments.a, weight, arguments.options));
  lowered.problem.single.epilogue.outliers.weight = o.outlier_weight;

  OCTAVO_TRY_ASSIGN(const FlatOut out,
                    flatten_out(site, x, lowered.extents.n, lowered.out_dtype, o.out));
  lowered.problem.single.out = out.rows.view;
  if (o.out.defined()) OCTAVO_TRY(check_no_overlap(site, lowered.problem.single));
  OCTAVO_TRY(run_problem(lowered.problem, context, o.backend));
  out.finish();
  if (call.found.defined()) {
    const auto* first = call.found.data_as<std::int64_t>();
    o.found_columns->assign(first, first + call.count);
  }
  return out.tensor;
}

}  // namespace

Status extend_rule(const char* operation, const LinearOptions& o, std::int64_t k, CallRule& call,
                   Operand& a) {
  if (a.quantise == nullptr) return {};
  const bool wanted = o.found_columns != nullptr && a.quantise->vectorwise;
  if (!wanted && !o.outlier_columns.defined()) return {};
  call.rule = *a.quantise;
  if (o.outlier_columns.defined()) {
    OCTAVO_TRY_ASSIGN(call.rule.outlier_columns,
                      united(operation, call.rule.outlier_columns, o.outlier_columns));
  }
  if (wanted) {
    const std::array<std::int64_t, 1> room{k};
    OCTAVO_TRY_ASSIGN(call.found, Tensor::try_empty(operation, DType::int64, room));
    call.rule.found_columns = call.found;
    call.rule.found_count = &call.count;
  }
  a.quantise = &call.rule;
  return {};
}

Result<LinearArguments> linear_arguments(const Site& site, const TensorView& x,
                                         const Operand& weight, const ActivationQuant* rule,
                                         const LinearOptions& o) {
  OCTAVO_TRY(check_x(site, x, weight));
  OCTAVO_TRY(check_outliers(site, weight, rule, o));
  LinearArguments arguments;
  OCTAVO_TRY_ASSIGN(arguments.rows, flatten_rows(site.operation, x));
  arguments.a = Operand(arguments.rows.view);
  arguments.a.quantise = rule;
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
