// SPDX-License-Identifier: Apache-2.0
// Gradients of experts on several ranks. Behind the records of a call a rank sends, for each of
// them, the token's row of grad and the factors of its slots; back come, for each route, the
// gradient of the row that w13 multiplied and that of its factor. Sums of biases stay where the
// experts are: over the tokens of all ranks, in their order.
#include <array>

#include "core/data/matrix.hpp"
#include "core/threads/executors.hpp"
#include "layers/expert_gradients.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"
#include "parallel/expert_exchange.hpp"

namespace octavo {
namespace {

using Impl = ExpertParallelMoE::Impl;
using Indices = std::vector<std::int64_t>;

// Rows of a matrix by number.
Result<Tensor> rows_of(const VjpCall& vjp, const MatrixView& from, const Indices& rows) {
  OCTAVO_TRY_ASSIGN(const Tensor to, plane(vjp, from.dtype, std::ssize(rows), from.shape[1]));
  OCTAVO_TRY(vjp.on->passes.gather({from, rows.data(), 1, to}, vjp.context));
  return to;
}

// The token of each record.
Indices tokens_of(const ExpertCall& call, const Dispatch& d) {
  if (!call.factors_on_input) return d.rows;
  Indices tokens;
  for (const std::int64_t row : d.rows) {
    tokens.push_back(call.routing.routes[static_cast<std::size_t>(row)] / call.routing.slots);
  }
  return tokens;
}

// Rows of one matrix on this rank to rows of one on each other, as many as they wait for.
Result<Tensor> sent(const Impl& layer, const VjpCall& vjp, const Tensor& rows, const Counts& to,
                    const Counts& from) {
  OCTAVO_TRY_ASSIGN(const Tensor received, plane(vjp, rows.dtype(), sum(from), rows.size(1)));
  const std::int64_t bytes = rows.size(1) * element_bytes(rows.dtype());
  layer.ranks->all_to_all(rows.data(), times(to, bytes), received.data(), times(from, bytes));
  return received;
}

// Factors of a record's slots; those of slots without an expert there are not read.
Result<Tensor> record_factors(const VjpCall& vjp, const ExpertCall& call, const Dispatch& d) {
  const Routing& routing = call.routing;
  const MatrixView all = matrix_view(const_cast<float*>(routing.on_device.factors),  // NOLINT
                                     DType::float32, routing.tokens, routing.slots, {});
  return rows_of(vjp, all, d.rows);
}

struct Asked {
  const TensorView& grad;
  const FusedExpertsWanted& wanted;
  const GradientOptions& options;
};

// What comes back by route, in the order of the records that were sent, for this rank's answer to
// those of all; biases' gradients into `result`.
Result<ReturnedGradients> answer(const Impl& layer, const CheckedExperts& c, const Counts& records,
                                 const Tensor& grads, const Tensor& factors,
                                 const FusedExpertsWanted& of_rows, const VjpCall& vjp,
                                 FusedExpertsGradients& result) {
  const Dispatch& d = c.dispatch;
  TokenRecords tokens(layer, c, records, *vjp.on, vjp.context);
  Arena counter(nullptr);
  OCTAVO_TRY(tokens.take(counter));
  OCTAVO_TRY_ASSIGN(const Tensor memory,
                    plane(vjp, DType::uint8, 1, static_cast<std::int64_t>(counter.used()) + 1));
  Arena arena(memory.data());
  OCTAVO_TRY(tokens.take(arena));
  OCTAVO_TRY_ASSIGN(const ArrivedTokens arrived, tokens.exchange());
  OCTAVO_TRY_ASSIGN(const Tensor all_grads, sent(layer, vjp, grads, d.records_to, records));
  Tensor all_factors;
  if (factors.defined()) {
    OCTAVO_TRY_ASSIGN(all_factors, sent(layer, vjp, factors, d.records_to, records));
  }
  OCTAVO_TRY_ASSIGN(const ExpertCall call,
                    answering_call(layer, c.call, arrived, all_factors.view(), vjp.context));
  OCTAVO_TRY_ASSIGN(const RoutedGradients made,
                    routed_gradients(call, {all_grads, factors.defined()}, of_rows, vjp));
  result.bias13 = made.bias13;
  result.bias2 = made.bias2;
  const Indices order = rows_in_order(call.routing);
  const Counts routes = routes_of(arrived.ids, records);
  const auto back = [&](const Tensor& rows) -> Result<Tensor> {
    if (!rows.defined()) return Tensor();
    OCTAVO_TRY_ASSIGN(const Tensor in_order, rows_of(vjp, rows, order));
    return sent(layer, vjp, in_order, routes, d.routes_to);
  };
  ReturnedGradients returned;
  returned.places = c.dispatch.places.data();
  OCTAVO_TRY_ASSIGN(returned.x, back(made.x));
  OCTAVO_TRY_ASSIGN(returned.factors, back(made.factors));
  return returned;
}

Result<FusedExpertsGradients> gradients(const Impl& layer, const CheckedExperts& c,
                                        const Counts& records, const ExpertTensors& tensors,
                                        const Asked& asked, const VjpCall& vjp) {
  const ExpertCall& call = c.call;
  const Dispatch& d = c.dispatch;
  const bool on_input = call.factors_on_input;
  OCTAVO_TRY_ASSIGN(const FlatRows flat, flatten_rows(kExpertParallel, asked.grad, vjp.context));
  OCTAVO_TRY_ASSIGN(const Tensor grads, rows_of(vjp, flat.view, tokens_of(call, d)));
  Tensor factors;
  if (!on_input) {
    OCTAVO_TRY_ASSIGN(factors, record_factors(vjp, call, d));
  }
  FusedExpertsGradients result;
  OCTAVO_TRY_ASSIGN(ReturnedGradients made,
                    answer(layer, c, records, grads, factors,
                           wanted_of_rows(asked.wanted, on_input), vjp, result));
  if (on_input && asked.wanted.topk_weights) {
    Indices tokens(static_cast<std::size_t>(sum(d.routes_to)));
    for (std::size_t route = 0; route < d.places.size(); ++route) {
      if (d.places[route] < 0) continue;
      tokens[static_cast<std::size_t>(d.places[route])] =
          static_cast<std::int64_t>(route) / call.routing.slots;
    }
    OCTAVO_TRY_ASSIGN(made.inputs, rows_of(vjp, call.x, tokens));
  }
  const DType dtype = gradient_dtype(asked.options, tensors.x.dtype, asked.grad.dtype);
  OCTAVO_TRY(token_gradients(call, made, tensors.x, asked.wanted, dtype, vjp, result));
  return result;
}

}  // namespace

FusedExpertsGradients ExpertParallelMoE::vjp(const TensorView& grad, const TensorView& x,
                                             const TensorView& topk_weights,
                                             const TensorView& topk_ids,
                                             const FusedExpertsOptions& forward,
                                             const FusedExpertsWanted& wanted,
                                             const GradientOptions& options,
                                             const ExecContext& context) const {
  return at_edge(kExpertParallel, [&]() -> Result<FusedExpertsGradients> {
    const Impl& layer = *impl_;
    const ExpertTensors tensors{x, topk_weights, topk_ids};
    OCTAVO_TRY(check_device(kExpertParallel, context));
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kExpertParallel, {}, forward.backend));
    PinnedExecutor executor(executor_of(context));
    ExecContext pinned = context;
    pinned.executor = &executor;
    pinned.workspace = nullptr;
    const auto checked = [&]() -> Result<CheckedExperts> {
      OCTAVO_TRY_ASSIGN(CheckedExperts c,
                        checked_experts(layer, tensors, forward, *backend, pinned));
      OCTAVO_TRY(check_expert_grad(c.call, grad, x, options));
      OCTAVO_TRY(
          check_expert_wanted(kExpertParallel, wanted, layer.bias13.view(), layer.bias2.view()));
      c.gradients = {grad.dtype, wanted, options.float32};
      return c;
    };
    const Result<CheckedExperts> c = checked();
    const Counts records = exchange_heads(layer, c);
    const VjpCall vjp = vjp_of(c.value().call, options, forward.backend, *backend, pinned);
    return gradients(layer, c.value(), records, tensors, {grad, wanted, options}, vjp);
  });
}

}  // namespace octavo
