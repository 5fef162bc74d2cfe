// SPDX-License-Identifier: Apache-2.0
// Experts on several ranks. A call says three things to every rank:
//
//   heads     how many records come, and what has to be alike
//   records   codes of tokens                    expert_records.cpp
//   results   float32 rows of routes, which the rank of the tokens adds in the order of slots
#include <numeric>
#include <utility>

#include "core/devices.hpp"
#include "core/error.hpp"
#include "core/executors.hpp"
#include "core/matrix.hpp"
#include "core/quantize_rules.hpp"
#include "layers/expert_products.hpp"
#include "octavo/parallel.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "ops/scratch.hpp"
#include "parallel/alike.hpp"
#include "parallel/expert_records.hpp"

namespace octavo {

struct ExpertParallelMoE::Impl {
  std::shared_ptr<Communicator> ranks;
  std::int64_t experts = 0;
  ShardRange own;
  std::vector<std::int64_t> ends;  ///< of the ranks' experts
  ExpertWeights w13, w2;
  Tensor bias13, bias2;
};

namespace {

constexpr const char* kExpertParallel = "ExpertParallelMoE";

using Impl = ExpertParallelMoE::Impl;
using Counts = std::vector<std::int64_t>;

// What a rank says before its records.
struct Head {
  std::int64_t refused = 0;  ///< 1: the rank refuses its arguments, and sends nothing more
  std::int64_t records = 0;
  std::int64_t dtype = 0;  ///< of x
  std::int64_t slots = 0;
  std::int64_t factors_on_input = 0;
};

std::int64_t sum(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

Counts times(Counts counts, std::int64_t factor) {
  for (std::int64_t& count : counts) count *= factor;
  return counts;
}

// A call's arguments, and where its tokens go.
struct Checked {
  ExpertCall call;
  FlatOut out;
  Dispatch dispatch;
};

Result<Checked> checked(const Impl& layer, const ExpertTensors& tensors,
                        const FusedExpertsOptions& o, const Backend& backend,
                        const ExecContext& context) {
  if (o.bias13.defined() || o.bias2.defined() || o.expert_map.defined()) {
    return fail(Code::unsupported,
                "{}: bias13, bias2 and expert_map must be undefined in a call (a layer is made "
                "with its biases); got one",
                kExpertParallel);
  }
  if (!on_host(tensors.x.device)) {
    return fail(Code::unsupported, "{}: x must be in the host's memory; got {}", kExpertParallel,
                device_string(tensors.x.device));
  }
  Checked c;
  OCTAVO_TRY_ASSIGN(c.call, expert_call(kExpertParallel, tensors, layer.w13, layer.w2,
                                        layer.experts, o, context));
  OCTAVO_TRY_ASSIGN(c.out, expert_out(c.call, tensors, o, context));
  OCTAVO_TRY(check_rows(c.call, backend, context));
  OCTAVO_TRY(send_routes(kExpertParallel, context.place({}), c.call.routing));
  c.dispatch = dispatch_of(c.call, layer.ends);
  return c;
}

// The other ranks' heads, which are alike: else the same error on all of them.
std::vector<Head> exchange_heads(const Impl& layer, const Result<Checked>& c) {
  const auto size = static_cast<std::size_t>(layer.ranks->size());
  std::vector<Head> own(size), heads(size);
  for (std::size_t r = 0; r < size; ++r) {
    if (!c.ok()) {
      own[r].refused = 1;
      continue;
    }
    const ExpertCall& call = c.value().call;
    own[r] = {0, c.value().dispatch.records_to[r], static_cast<std::int64_t>(call.x_dtype),
              call.routing.slots, call.factors_on_input ? 1 : 0};
  }
  const Counts bytes(size, sizeof(Head));
  layer.ranks->all_to_all(own.data(), bytes, heads.data(), bytes);
  throw_if_failed(c.status());
  for (std::size_t r = 0; r < size; ++r) {
    if (heads[r].refused == 0) continue;
    refuse(Code::invalid_argument,
           "{}: arguments must be valid on all ranks; got an error on rank {}", kExpertParallel, r);
  }
  const auto alike = [&](const char* what, std::int64_t Head::*member, const auto& words) {
    for (std::size_t r = 1; r < size; ++r) {
      if (heads[r].*member == heads[0].*member) continue;
      refuse(Code::invalid_argument,
             "{}: {} must be the same on all ranks; got {} on rank 0 and {} on rank {}",
             kExpertParallel, what, words(heads[0].*member), words(heads[r].*member), r);
    }
  };
  const auto number = [](std::int64_t value) { return value; };
  alike("x.dtype", &Head::dtype,
        [](std::int64_t value) { return name(static_cast<DType>(value)); });
  alike("topk_ids.shape[1]", &Head::slots, number);
  alike("apply_router_weight_on_input", &Head::factors_on_input, number);
  return heads;
}

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

// What this rank's experts make of the records that have come.
class Answers {
 public:
  Answers(const Impl& layer, const ExpertCall& asked, const Backend& backend,
          const ExecContext& context)
      : layer_(layer), backend_(backend), context_(context) {
    call_.operation = kExpertParallel;
    call_.x_dtype = asked.x_dtype;
    call_.w13 = &layer.w13;
    call_.w2 = &layer.w2;
    call_.bias13 = layer.bias13;
    call_.bias2 = layer.bias2;
    call_.options = asked.options;
  }

  Status make(const Rows& codes, const TensorView& ids, const char* backend) {
    call_.codes = codes;
    const Site site{kExpertParallel, &kPlainNames};
    OCTAVO_TRY_ASSIGN(call_.routing,
                      find_routes(site, {ids, {}, {}}, layer_.own.size(), context_.stream));
    OCTAVO_TRY(send_routes(kExpertParallel, context_.place({}), call_.routing));
    ExpertProducts products(call_, backend_, context_);
    OCTAVO_TRY(products.plan(backend));
    const std::int64_t rows = call_.routing.rows();
    const std::int64_t n = layer_.w2.n();
    Arena counter(nullptr);
    (void)counter.take<float>(rows * n);
    const std::size_t bytes = counter.used() + products.bytes();
    OCTAVO_TRY(scratch_.find(bytes, context_));
    Arena arena(scratch_.data);
    results_ = matrix_view(arena.take<float>(rows * n), DType::float32, rows, n, {});
    OCTAVO_TRY_ASSIGN(const MatrixView made, products.run(static_cast<char*>(arena.next())));
    // From the order of experts to that of records and slots.
    std::erase(call_.routing.places, -1);
    return backend_.passes.gather({made, call_.routing.places.data(), 1, results_}, context_);
  }
  const MatrixView& results() const noexcept { return results_; }

 private:
  const Impl& layer_;
  const Backend& backend_;
  const ExecContext& context_;
  ExpertCall call_;
  Kept scratch_;
  MatrixView results_;
};

// How many routes the records of each rank have.
Counts routes_of(const TensorView& ids, const Counts& records) {
  Counts routes;
  std::int64_t next = 0;
  for (const std::int64_t count : records) {
    std::int64_t& sum = routes.emplace_back(0);
    for (const std::int64_t end = next + count; next < end; ++next) {
      const auto* row = static_cast<const std::int32_t*>(ids.at(next * ids.strides[0]));
      for (std::int64_t t = 0; t < ids.shape[1]; ++t) sum += row[t] >= 0 ? 1 : 0;
    }
  }
  return routes;
}

// Memory of a call, on the side of its tokens and on that of its experts.
struct Buffers {
  Rows codes;
  char *sent = nullptr, *received = nullptr;
  float* results = nullptr;
};

Status exchange(const Impl& layer, const Checked& c, const Counts& records, const Backend& backend,
                const char* backend_name, const ExecContext& context) {
  const Dispatch& d = c.dispatch;
  const std::int64_t n = layer.w2.n();
  Arena outline(nullptr);
  OCTAVO_TRY_ASSIGN(const Rows shape, coded_rows(c.call, backend, outline, context));
  const RecordLayout layout(shape, d.slots);
  const auto carve = [&](Arena& arena) -> Result<Buffers> {
    Buffers b;
    OCTAVO_TRY_ASSIGN(b.codes, coded_rows(c.call, backend, arena, context));
    b.sent = arena.take<char>(sum(d.records_to) * layout.bytes());
    b.received = arena.take<char>(sum(records) * layout.bytes());
    b.results = arena.take<float>(sum(d.routes_to) * n);
    return b;
  };
  Arena counter(nullptr);
  OCTAVO_TRY(carve(counter).status());
  constexpr std::size_t kShared = 128;  // the numbers of a static rule
  Kept scratch;
  OCTAVO_TRY(scratch.find(counter.used() + kShared, context));
  Arena arena(scratch.data);
  OCTAVO_TRY_ASSIGN(const Buffers b, carve(arena));

  OCTAVO_TRY(layout.write(b.codes, d, b.sent, backend, context));
  layer.ranks->all_to_all(b.sent, times(d.records_to, layout.bytes()), b.received,
                          times(records, layout.bytes()));
  const auto& rule = layer.w13.activation();
  const Rows codes = layout.rows(b.received, sum(records), rule ? &*rule : nullptr, arena);
  const TensorView ids = layout.ids(b.received, sum(records));
  Answers answers(layer, c.call, backend, context);
  OCTAVO_TRY(answers.make(codes, ids, backend_name));
  layer.ranks->all_to_all(answers.results().data, times(routes_of(ids, records), 4 * n), b.results,
                          times(d.routes_to, 4 * n));
  const MatrixView results = matrix_view(b.results, DType::float32, sum(d.routes_to), n, {});
  return backend.passes.combine(
      {.rows = results,
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
  const Result<Checked> c = checked(layer, tensors, o, *backend, pinned);
  Counts records;
  for (const Head& head : exchange_heads(layer, c)) records.push_back(head.records);
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
  check_alike(kExpertParallel, *layer.ranks, traits);
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
