// SPDX-License-Identifier: Apache-2.0
// Experts on several ranks: making a layer, and its calls forward.
#include <array>
#include <utility>

#include "core/data/matrix.hpp"
#include "core/scales/quantize_rules.hpp"
#include "core/threads/executors.hpp"
#include "layers/expert_products.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "parallel/alike.hpp"
#include "parallel/expert_exchange.hpp"

namespace octavo {
namespace {

using Impl = ExpertParallelMoE::Impl;

// Memory that the thread keeps for its next call, however this one ends.
struct Kept : Scratch {
  Kept() = default;
  ~Kept() { keep_scratch(*this); }
  Kept(const Kept&) = delete;
  Kept& operator=(const Kept&) = delete;

  Status find(std::size_t bytes, const ExecContext& context) {
    OCTAVO_TRY_ASSIGN(static_cast<Scratch&>(*this),
                      find_scratch(kExpertParallel, bytes, {}, context));
    return {};
  }
};

// What this rank's experts make of the records that have come, float32 [routes, N] in the order of
// records and slots.
class Answers {
 public:
  Answers(const Backend& backend, const ExecContext& context)
      : backend_(backend), context_(context) {}

  Result<MatrixView> make(const ExpertCall& call, const char* backend) {
    ExpertProducts products(call, backend_, context_);
    OCTAVO_TRY(products.plan(backend));
    const std::int64_t rows = call.routing.rows();
    const std::int64_t n = call.w2->n();
    Arena counter(nullptr);
    (void)counter.take<float>(rows * n);
    OCTAVO_TRY(scratch_.find(counter.used() + products.bytes(), context_));
    Arena arena(scratch_.data);
    const MatrixView results =
        matrix_view(arena.take<float>(rows * n), DType::float32, rows, n, {});
    OCTAVO_TRY_ASSIGN(const MatrixView made, products.run(static_cast<char*>(arena.next())));
    const std::vector<std::int64_t> order = rows_in_order(call.routing);
    OCTAVO_TRY(backend_.passes.gather({made, order.data(), 1, results}, context_));
    return results;
  }

 private:
  const Backend& backend_;
  const ExecContext& context_;
  Kept scratch_;
};

Status exchange(const Impl& layer, const CheckedExperts& c, const Counts& records,
                const Backend& backend, const char* backend_name, const ExecContext& context) {
  const Dispatch& d = c.dispatch;
  const std::int64_t n = layer.w2.n();
  TokenRecords tokens(layer, c, records, backend, context);
  float* results = nullptr;
  const auto take = [&](Arena& arena) -> Status {
    OCTAVO_TRY(tokens.take(arena));
    results = arena.take<float>(sum(d.routes_to) * n);
    return {};
  };
  Arena counter(nullptr);
  OCTAVO_TRY(take(counter));
  Kept scratch;
  OCTAVO_TRY(scratch.find(counter.used(), context));
  Arena arena(scratch.data);
  OCTAVO_TRY(take(arena));
  OCTAVO_TRY_ASSIGN(const ArrivedTokens arrived, tokens.exchange());
  OCTAVO_TRY_ASSIGN(const ExpertCall call, answering_call(layer, c.call, arrived, {}, context));
  Answers answers(backend, context);
  OCTAVO_TRY_ASSIGN(const MatrixView made, answers.make(call, backend_name));
  layer.ranks->all_to_all(made.data, times(routes_of(arrived.ids, records), 4 * n), results,
                          times(d.routes_to, 4 * n));
  return backend.passes.combine(
      {.rows = matrix_view(results, DType::float32, sum(d.routes_to), n, {}),
       .slots = c.call.routing.slots,
       .places = d.places.data(),
       .factors = c.call.factors_on_input ? nullptr : c.call.routing.on_device.factors,
       .out = c.out.rows.view,
       .overflow = c.call.options.overflow},
      context);
}

Result<Tensor> forward(const Impl& layer, const ExpertTensors& tensors,
                       const FusedExpertsOptions& o, const ExecContext& context) {
  OCTAVO_TRY(check_device(kExpertParallel, context));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kExpertParallel, {}, o.backend));
  PinnedExecutor executor(executor_of(context));
  ExecContext pinned = context;
  pinned.executor = &executor;
  pinned.workspace = nullptr;
  const auto with_out = [&]() -> Result<CheckedExperts> {
    OCTAVO_TRY_ASSIGN(CheckedExperts c, checked_experts(layer, tensors, o, *backend, pinned));
    OCTAVO_TRY_ASSIGN(c.out, expert_out(c.call, tensors, o, pinned));
    return c;
  };
  const Result<CheckedExperts> c = with_out();
  const Counts records = exchange_heads(layer, c);
  OCTAVO_TRY(exchange(layer, c.value(), records, *backend, o.backend, pinned));
  OCTAVO_TRY(c.value().out.finish(kExpertParallel, pinned));
  return c.value().out.tensor;
}

void check_ranks(const Impl& layer, const TensorView& bias13, const TensorView& bias2) {
  const auto shape = [](const ExpertWeights& w) { return fmt::format("[{}, {}]", w.k(), w.n()); };
  const auto presence = [](const TensorView& bias) {
    return std::string(bias.defined() ? "given" : "undefined");
  };
  const std::array traits{Trait{"experts", fmt::format("{}", layer.experts)},
                          Trait{"w13.shape", shape(layer.w13)},
                          Trait{"w13.dtype", std::string(name(layer.w13.dtype()))},
                          Trait{"w13.granularity", to_string(layer.w13.granularity())},
                          Trait{"w13.activation", rule_words(layer.w13.activation())},
                          Trait{"w2.shape", shape(layer.w2)},
                          Trait{"w2.dtype", std::string(name(layer.w2.dtype()))},
                          Trait{"w2.granularity", to_string(layer.w2.granularity())},
                          Trait{"w2.activation", rule_words(layer.w2.activation())},
                          Trait{"bias13", presence(bias13)},
                          Trait{"bias2", presence(bias2)}};
  check_alike(kExpertParallel, "a layer", *layer.ranks, {}, traits);
}

void check_rank(const Impl& layer) {
  throw_if_failed(check_experts(kExpertParallel, layer.w13, layer.w2));
  if (layer.w13.experts() != layer.own.size()) {
    refuse(Code::invalid_argument,
           "{}: w13.experts must be {}, those of rank {} of {} (expert_range); got {}",
           kExpertParallel, layer.own.size(), layer.ranks->rank(), layer.ranks->size(),
           layer.w13.experts());
  }
  for (const auto& [word, w] : {std::pair{"w13", &layer.w13}, std::pair{"w2", &layer.w2}}) {
    if (!w->activation() || rows_apart(*w->activation())) continue;
    refuse(Code::unsupported,
           "{}: {}.activation must have static scales or scales of single rows (tokens lie on "
           "several ranks); got {}",
           kExpertParallel, word, to_string(w->activation()->spec.granularity));
  }
}

Tensor own_bias(const char* word, const TensorView& bias, const ExpertWeights& w) {
  if (!bias.defined()) return {};
  if (bias.rank != 2 || bias.shape[0] != w.experts() || bias.shape[1] != w.n() ||
      !is_wide(bias.dtype)) {
    refuse(Code::invalid_argument,
           "{}: {} must be float32, bfloat16 or float16 [{}, {}]; got {} {}", kExpertParallel, word,
           w.experts(), w.n(), name(bias.dtype), shape_string(bias));
  }
  return copy(bias, bias.dtype);
}

}  // namespace

ExpertParallelMoE::ExpertParallelMoE(const ExpertWeights& w13, const ExpertWeights& w2,
                                     std::int64_t experts, std::shared_ptr<Communicator> ranks,
                                     const TensorView& bias13, const TensorView& bias2) {
  at_edge(kExpertParallel, [&] {
    if (ranks == nullptr) {
      refuse(Code::invalid_argument, "{}: ranks must be a communicator; got none", kExpertParallel);
    }
    auto layer = std::make_shared<Impl>();
    layer->ranks = std::move(ranks);
    layer->experts = experts;
    const int size = layer->ranks->size();
    layer->own = expert_range(experts, layer->ranks->rank(), size);
    for (int r = 0; r < size; ++r) layer->ends.push_back(expert_range(experts, r, size).end);
    layer->w13 = w13;
    layer->w2 = w2;
    check_ranks(*layer, bias13, bias2);
    check_rank(*layer);
    layer->bias13 = own_bias("bias13", bias13, w13);
    layer->bias2 = own_bias("bias2", bias2, w2);
    impl_ = std::move(layer);
  });
}

std::int64_t ExpertParallelMoE::experts() const noexcept { return impl_->experts; }
ShardRange ExpertParallelMoE::local() const noexcept { return impl_->own; }

Tensor ExpertParallelMoE::operator()(const TensorView& x, const TensorView& topk_weights,
                                     const TensorView& topk_ids, const FusedExpertsOptions& options,
                                     const ExecContext& context) const {
  return at_edge(kExpertParallel, [&] {
    return forward(*impl_, {x, topk_weights, topk_ids}, options, context);
  });
}

}  // namespace octavo
