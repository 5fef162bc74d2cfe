// SPDX-License-Identifier: Apache-2.0
// linear: any-rank activations, fused quantisation, packed weight.
#include "octavo/linear.hpp"

#include "core/error.hpp"
#include "ops/lower.hpp"
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
  const std::int64_t k = weight.packed != nullptr ? weight.packed->k() : weight.data.shape[0];
  const std::int64_t last = x.rank > 0 ? x.shape[static_cast<std::size_t>(x.rank - 1)] : -1;
  if (last == k) return {};
  return fail(Code::invalid_argument, "{}.shape must be [..., K = {}]; got {}", site(Arg::a), k,
              shape_string(x));
}

Result<Tensor> run_linear(const TensorView& x, const Operand& weight, const ActivationQuant* rule,
                          const LinearOptions& o, const ExecContext& context) {
  const Site site{"linear", &kLinearNames};
  OCTAVO_TRY_ASSIGN(const LinearArguments arguments, linear_arguments(site, x, weight, rule, o));
  OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, arguments.a, weight, arguments.options));

  OCTAVO_TRY_ASSIGN(const FlatOut out,
                    flatten_out(site, x, lowered.extents.n, lowered.out_dtype, o.out));
  lowered.problem.single.out = out.rows.view;
  if (o.out.defined()) OCTAVO_TRY(check_no_overlap(site, lowered.problem.single));
  OCTAVO_TRY(run_problem(lowered.problem, context, o.backend));
  out.finish();
  return out.tensor;
}

}  // namespace

Result<LinearArguments> linear_arguments(const Site& site, const TensorView& x,
                                         const Operand& weight, const ActivationQuant* rule,
                                         const LinearOptions& o) {
  OCTAVO_TRY(check_x(site, x, weight));
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
