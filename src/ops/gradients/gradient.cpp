// SPDX-License-Identifier: Apache-2.0
// The entry points of gradients of products.
#include "octavo/gradient.hpp"

#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "ops/gradients/vjp_arguments.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

// The activations that the product saw: codes and scales, made as the forward call made them.
Status quantize(const VjpCall& call, VjpMember& m, std::vector<Tensor>& owned) {
  OCTAVO_TRY_ASSIGN(const Backend* backend,
                    backend_for(call.operation, call.place.device, call.backend));
  const auto quantize_a = backend->passes.quantize_activations;
  Member part = m.forward;
  Arena counting(nullptr);
  OCTAVO_TRY(quantize_a(part, {}, counting, call.context));
  const std::array<std::int64_t, 1> bytes{static_cast<std::int64_t>(counting.used())};
  OCTAVO_TRY_ASSIGN(const Tensor memory,
                    Tensor::try_empty(call.operation, DType::uint8, bytes, call.place));
  part = m.forward;
  Arena arena(memory.data());
  OCTAVO_TRY(quantize_a(part, {}, arena, call.context));
  m.a = part.a;
  owned.push_back(memory);
  return {};
}

// What the gradients of one operation, or of one entry of a list, are asked with.
struct Request {
  const Site& site;
  VjpMemory memory;
  const MatmulWanted& wanted;
  const GradientOptions& options;
  bool optional = false;  // of lists: arguments that were not given have no gradient
};

// Lowers an operation, and once more with stand-ins; `a` as the caller gave it. `lower(a, b,
// options)` is the operation's own lowering.
template <class Options, class Lower>
Status lower_vjp(const Request& r, const TensorView& given_a, const Operand& a, const Operand& b,
                 const Options& options, const VjpArguments& shadow, const TensorView& c,
                 const Options& shadow_options, const Lower& lower, VjpEntry& entry,
                 std::vector<VjpMember>& members) {
  OCTAVO_TRY_ASSIGN(entry.forward, lower(a, b, options));
  OCTAVO_TRY(put_stand_ins(r.site, r.memory, r.wanted, r.optional, shadow, entry.stand_ins));
  OCTAVO_TRY_ASSIGN(const Lowered lowered, lower(shadow.a, shadow.b, shadow_options));
  return add_members(r.site, r.memory, r.wanted, r.options, given_a, b.data, c, lowered.problem,
                     entry, members);
}

// The same for options with every argument by its own name.
template <class Options, class Lower>
Status lower_vjp(const Request& r, const TensorView& given_a, const Operand& a, const Operand& b,
                 const Options& given, const Lower& lower, VjpEntry& entry,
                 std::vector<VjpMember>& members) {
  Options options = given;
  options.out = {};
  Operand shadow_a = a;
  Operand shadow_b = b;
  Options s = options;
  const VjpArguments shadow{shadow_a, shadow_b, s.scale_a, s.scale_b,
                            s.bias,   s.alpha,  s.beta,    s.scale_result};
  return lower_vjp(r, given_a, a, b, options, shadow, options.c, s, lower, entry, members);
}

Status check_result_grad(const Site& site, const TensorView& grad, const Lowered& lowered) {
  int rank = 0;
  const std::array<std::int64_t, 3> shape = out_shape(lowered, &rank);
  return check_grad(site, grad, std::span(shape.data(), static_cast<std::size_t>(rank)));
}

VjpCall call_of(const VjpMemory& memory, const MatmulOptions& matmul, const GradientOptions& o,
                const ExecContext& context, const char* backend) {
  VjpCall call{memory, matmul, o.float32, o.dequantized, context, backend, nullptr};
  call.matmul.k_chunks = 0;  // those of another K
  return call;
}

Status run_entry(const VjpCall& call, VjpEntry& entry, std::vector<VjpMember>& members) {
  OCTAVO_TRY(run_vjp(call, members));
  return finish_gradients(call, entry);
}

// Under LLM.int8 the gradient of b is that of the values, and scales are no parameters.
Status check_llm_int8(const Request& r) {
  if (r.wanted.scale_b) {
    return fail(Code::unsupported, "{} must not be wanted under LLM.int8; got a request",
                r.site(Arg::scale_b));
  }
  if (!r.wanted.b || r.options.dequantized) return {};
  return fail(Code::unsupported,
              "{}: options.dequantized must be true where {} is wanted under LLM.int8 (its "
              "gradient is made of codes by column, that of the values); got false",
              r.site.operation, r.site.bare(Arg::b));
}

// scaled_mm and linear: x of any rank as the matrix `a.data`.
Result<MatmulGradients> single(const Request& r, const TensorView& x, const Operand& a,
                               const Operand& weight, const ScaledMmOptions& forward,
                               const VjpCall& call, VjpEntry& entry) {
  const Site& site = r.site;
  std::vector<VjpMember> members;
  OCTAVO_TRY(check_gradient_options(site.operation, r.options));
  const auto lower = [&](const Operand& left, const Operand& right,
                         const ScaledMmOptions& o) -> Result<Lowered> {
    OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product(site, left, right, o));
    OCTAVO_TRY(check_result_grad(site, entry.grad.view, lowered));
    return lowered;
  };
  entry.transposed_a = forward.trans_a;
  entry.transposed_b = forward.trans_b;
  if (weight.packed != nullptr) {  // its own rules
    ScaledMmOptions own = forward;
    own.out = {};
    OCTAVO_TRY(lower(a, weight, own).status());
  }
  OCTAVO_TRY_ASSIGN(const Operand b, plain_weight(call, weight, entry.owned));
  OCTAVO_TRY(lower_vjp(r, x, a, b, forward, lower, entry, members));
  const bool llm_int8 = a.quantize != nullptr && a.quantize->vectorwise;
  if (llm_int8) OCTAVO_TRY(check_llm_int8(r));
  if (a.quantize != nullptr && !llm_int8 && r.wanted.b) {
    OCTAVO_TRY(quantize(call, members.front(), entry.owned));
  }
  OCTAVO_TRY(run_entry(call, entry, members));
  return std::move(entry.gradients);
}

Result<MatmulGradients> run_scaled_mm(const TensorView& grad, const Operand& a, const Operand& b,
                                      const ScaledMmOptions& forward, const Request& r,
                                      const ExecContext& context) {
  VjpEntry entry;
  entry.grad.view = grad;
  return single(r, a.data, a, b, forward,
                call_of(r.memory, forward.matmul, r.options, context, forward.backend), entry);
}

Result<MatmulGradients> run_linear(const TensorView& grad, const TensorView& x,
                                   const Operand& weight, const ActivationQuant* rule,
                                   const LinearOptions& forward, const Request& r,
                                   const ExecContext& context) {
  const Site& site = r.site;
  VjpEntry entry;
  OCTAVO_TRY_ASSIGN(LinearArguments arguments,
                    linear_arguments(site, x, weight, rule, forward, context));
  CallRule call;
  OCTAVO_TRY(extend_rule(site.operation, forward, x.shape[static_cast<std::size_t>(x.rank - 1)],
                         context, call, arguments.a));
  entry.a = arguments.rows;
  std::array<std::int64_t, kMaxRank> shape = x.shape;
  shape[static_cast<std::size_t>(x.rank - 1)] = weight_columns(weight);
  OCTAVO_TRY(check_grad(site, grad, std::span(shape.data(), static_cast<std::size_t>(x.rank))));
  OCTAVO_TRY_ASSIGN(entry.grad, flatten_rows(site.operation, grad, context));
  GradientOptions options = r.options;
  options.dequantized = true;
  return single({site, r.memory, r.wanted, options, r.optional}, x, arguments.a, weight,
                arguments.options,
                call_of(r.memory, forward.matmul, options, context, forward.backend), entry);
}

Result<MatmulGradients> run_grouped(const TensorView& grad, const Operand& a, const Operand& b,
                                    const GroupedOptions& given, const Request& r,
                                    const ExecContext& context) {
  const Site& site = r.site;
  GroupedOptions forward = given;
  Tensor offs;
  if (given.offs.defined()) {
    OCTAVO_TRY_ASSIGN(offs, host_offsets(site, given.offs, context));
    forward.offs = offs.view();
  }
  VjpEntry entry;
  entry.grad.view = grad;
  std::vector<VjpMember> members;
  OCTAVO_TRY(check_gradient_options(site.operation, r.options));
  const auto lower = [&](const Operand& left, const Operand& right,
                         const GroupedOptions& o) -> Result<Lowered> {
    OCTAVO_TRY_ASSIGN(Lowered lowered,
                      lower_grouped(site, left, right, o, ScaleReading::rowwise, context));
    OCTAVO_TRY(check_result_grad(site, grad, lowered));
    return lowered;
  };
  OCTAVO_TRY(lower_vjp(r, a.data, a, b, forward, lower, entry, members));
  OCTAVO_TRY(run_entry(call_of(r.memory, forward.matmul, r.options, context, forward.backend),
                       entry, members));
  return std::move(entry.gradients);
}

Result<MatmulGradients> run_batch(const TensorView& grad, const Operand& a, const Operand& b,
                                  const ScaledGroupedMmOptions& forward, const Request& r,
                                  const ExecContext& context) {
  const Site& site = r.site;
  VjpEntry entry;
  entry.grad.view = grad;
  entry.transposed_b = forward.trans_b;
  std::vector<VjpMember> members;
  OCTAVO_TRY(check_gradient_options(site.operation, r.options));
  const auto lower = [&](const Operand& left, const Operand& right,
                         const ScaledGroupedMmOptions& o) -> Result<Lowered> {
    OCTAVO_TRY_ASSIGN(Lowered lowered, lower_batch(site, left, right, o, context));
    OCTAVO_TRY(check_result_grad(site, grad, lowered));
    return lowered;
  };
  ScaledGroupedMmOptions options = forward;
  options.out = {};
  ScaledGroupedMmOptions s = options;
  Operand shadow_a = a;
  Operand shadow_b = b;
  Scale none_a, none_b, beta, result;
  TensorView bias;
  const VjpArguments shadow{shadow_a, shadow_b, none_a, none_b, bias, s.scale, beta, result};
  OCTAVO_TRY(lower_vjp(r, a.data, a, b, options, shadow, {}, s, lower, entry, members));
  OCTAVO_TRY(run_entry(call_of(r.memory, forward.matmul, r.options, context, forward.backend),
                       entry, members));
  return std::move(entry.gradients);
}

Result<std::vector<MatmulGradients>> run_list(std::span<const TensorView> grads,
                                              std::span<const Operand> inputs,
                                              std::span<const Operand> weights,
                                              const GroupedListOptions& forward,
                                              const MatmulWanted& wanted, const GradientOptions& o,
                                              const ExecContext& context) {
  constexpr const char* kName = "grouped_mm_vjp";
  OCTAVO_TRY(check_gradient_options(kName, o));
  OCTAVO_TRY(check_lists(kName, inputs, weights, forward));
  if (grads.size() != inputs.size()) {
    return fail(Code::invalid_argument, "{}: grads.size must equal inputs.size = {}; got {}", kName,
                inputs.size(), grads.size());
  }
  const Device device = grads.empty() ? Device{} : grads.front().device;
  const VjpCall call =
      call_of({kName, context.place(device)}, forward.matmul, o, context, forward.backend);
  std::vector<VjpEntry> entries(inputs.size());
  std::vector<VjpMember> members;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    VjpEntry& entry = entries[i];
    const Site site{kName, &kListNames, static_cast<std::int64_t>(i)};
    OCTAVO_TRY_ASSIGN(entry.a, flatten_input(site, inputs[i].data, context));
    Operand a = inputs[i];
    a.data = entry.a.view;
    OCTAVO_TRY_ASSIGN(const Operand b, plain_weight(call, weights[i], entry.owned));
    const auto lower = [&](const Operand& left, const Operand& right, const ScaledMmOptions& p) {
      return lower_product(site, left, right, p);
    };
    const ScaledMmOptions options = entry_options(forward, i);
    OCTAVO_TRY_ASSIGN(const Lowered lowered, lower(a, b, options));
    std::array<std::int64_t, kMaxRank> shape = inputs[i].data.shape;
    const auto rank = static_cast<std::size_t>(inputs[i].data.rank);
    shape[rank - 1] = lowered.extents.n;
    OCTAVO_TRY(check_grad(site, grads[i], std::span(shape.data(), rank)));
    OCTAVO_TRY_ASSIGN(entry.grad, flatten_rows(kName, grads[i], context));
    OCTAVO_TRY(lower_vjp({site, call, wanted, o, true}, inputs[i].data, a, b, options, lower, entry,
                         members));
  }
  OCTAVO_TRY(run_vjp(call, members));
  std::vector<MatmulGradients> gradients;
  for (VjpEntry& entry : entries) {
    OCTAVO_TRY(finish_gradients(call, entry));
    gradients.push_back(std::move(entry.gradients));
  }
  return gradients;
}

VjpMemory memory_of(const Site& site, const TensorView& grad, const ExecContext& context) {
  return {site.operation, context.place(grad.device)};
}

}  // namespace

MatmulGradients scaled_mm_vjp(const TensorView& grad, const Operand& a, const Operand& b,
                              const ScaledMmOptions& forward, const MatmulWanted& wanted,
                              const GradientOptions& options, const ExecContext& context) {
  const Site site{"scaled_mm_vjp", &kPlainNames};
  return at_edge(site.operation, [&] {
    return run_scaled_mm(grad, a, b, forward,
                         {site, memory_of(site, grad, context), wanted, options}, context);
  });
}

MatmulGradients grouped_mm_vjp(const TensorView& grad, const Operand& a, const Operand& b,
                               const GroupedOptions& forward, const MatmulWanted& wanted,
                               const GradientOptions& options, const ExecContext& context) {
  const Site site{"grouped_mm_vjp", &kPlainNames};
  return at_edge(site.operation, [&] {
    return run_grouped(grad, a, b, forward, {site, memory_of(site, grad, context), wanted, options},
                       context);
  });
}

std::vector<MatmulGradients> grouped_mm_vjp(
    std::span<const TensorView> grads, std::span<const Operand> inputs,
    std::span<const Operand> weights, const GroupedListOptions& forward, const MatmulWanted& wanted,
    const GradientOptions& options, const ExecContext& context) {
  return at_edge("grouped_mm_vjp", [&] {
    return run_list(grads, inputs, weights, forward, wanted, options, context);
  });
}

MatmulGradients scaled_grouped_mm_vjp(const TensorView& grad, const Operand& input,
                                      const Operand& weight, const ScaledGroupedMmOptions& forward,
                                      const MatmulWanted& wanted, const GradientOptions& options,
                                      const ExecContext& context) {
  const Site site{"scaled_grouped_mm_vjp", &kBatchNames};
  return at_edge(site.operation, [&] {
    return run_batch(grad, input, weight, forward,
                     {site, memory_of(site, grad, context), wanted, options}, context);
  });
}

MatmulGradients linear_vjp(const TensorView& grad, const TensorView& x, const PackedWeight& weight,
                           const LinearOptions& forward, const MatmulWanted& wanted,
                           const GradientOptions& options, const ExecContext& context) {
  const Site site{"linear_vjp", &kLinearNames};
  const ActivationQuant* rule = weight.activation() ? &*weight.activation() : nullptr;
  return at_edge(site.operation, [&] {
    return run_linear(grad, x, weight, rule, forward,
                      {site, memory_of(site, grad, context), wanted, options}, context);
  });
}

MatmulGradients linear_vjp(const TensorView& grad, const TensorView& x, const Operand& weight,
                           const ActivationQuant& rule, const LinearOptions& forward,
                           const MatmulWanted& wanted, const GradientOptions& options,
                           const ExecContext& context) {
  const Site site{"linear_vjp", &kLinearNames};
  return at_edge(site.operation, [&] {
    return run_linear(grad, x, weight, &rule, forward,
                      {site, memory_of(site, grad, context), wanted, options}, context);
  });
}

}  // namespace octavo
