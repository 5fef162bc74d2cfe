// SPDX-License-Identifier: Apache-2.0
#include "parallel/expert_exchange.hpp"

#include <numeric>
#include <utility>

#include "core/devices/devices.hpp"
#include "ops/run.hpp"
#include "ops/site.hpp"

namespace octavo {
namespace {

using Impl = ExpertParallelMoE::Impl;

constexpr std::int64_t kSharedBytes = 128;  // the numbers of a static rule

// What a rank says before its records.
struct Head {
  std::int64_t refused = 0;  ///< 1: the rank refuses its arguments, and sends nothing more
  std::int64_t records = 0;
  std::int64_t dtype = 0;  ///< of x
  std::int64_t slots = 0;
  std::int64_t factors_on_input = 0;
  std::int64_t grad = 0;  ///< its type; 0: a forward call
  std::int64_t wanted = 0;
  std::int64_t float32 = 0;
};

constexpr std::pair<const char*, bool FusedExpertsWanted::*> kWanted[] = {
    {"x", &FusedExpertsWanted::x},
    {"topk_weights", &FusedExpertsWanted::topk_weights},
    {"bias13", &FusedExpertsWanted::bias13},
    {"bias2", &FusedExpertsWanted::bias2}};

// A bit for each.
std::int64_t bits_of(const FusedExpertsWanted& wanted) {
  std::int64_t bits = 0;
  for (std::size_t i = 0; i < std::size(kWanted); ++i) {
    bits |= std::int64_t{wanted.*kWanted[i].second} << i;
  }
  return bits;
}

std::string wanted_words(std::int64_t bits) {
  std::string words;
  for (std::size_t i = 0; i < std::size(kWanted); ++i) {
    if ((bits >> i & 1) != 0)
      words += fmt::format("{}{}", words.empty() ? "" : ", ", kWanted[i].first);
  }
  return words.empty() ? "none" : words;
}

}  // namespace

std::int64_t sum(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

Counts times(Counts counts, std::int64_t factor) {
  for (std::int64_t& count : counts) count *= factor;
  return counts;
}

Result<CheckedExperts> checked_experts(const Impl& layer, const ExpertTensors& tensors,
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
  CheckedExperts c;
  OCTAVO_TRY_ASSIGN(c.call, expert_call(kExpertParallel, tensors, layer.w13, layer.w2,
                                        layer.experts, o, context));
  OCTAVO_TRY(check_rows(c.call, backend, context));
  OCTAVO_TRY(send_routes(kExpertParallel, context.place({}), c.call.routing));
  c.dispatch = dispatch_of(c.call, layer.ends);
  return c;
}

Counts exchange_heads(const Impl& layer, const Result<CheckedExperts>& c) {
  const auto size = static_cast<std::size_t>(layer.ranks->size());
  std::vector<Head> own(size), heads(size);
  for (std::size_t r = 0; r < size; ++r) {
    if (!c.ok()) {
      own[r].refused = 1;
      continue;
    }
    const ExpertCall& call = c.value().call;
    const AskedGradients& asked = c.value().gradients;
    own[r] = {0,
              c.value().dispatch.records_to[r],
              static_cast<std::int64_t>(call.x_dtype),
              call.routing.slots,
              call.factors_on_input ? 1 : 0,
              static_cast<std::int64_t>(asked.grad),
              bits_of(asked.wanted),
              asked.float32 ? 1 : 0};
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
  const auto dtype = [](std::int64_t value) { return name(static_cast<DType>(value)); };
  alike("x.dtype", &Head::dtype, dtype);
  alike("topk_ids.shape[1]", &Head::slots, number);
  alike("apply_router_weight_on_input", &Head::factors_on_input, number);
  alike("grad.dtype", &Head::grad, dtype);
  alike("wanted", &Head::wanted, wanted_words);
  alike("options.float32", &Head::float32, number);
  Counts records;
  for (const Head& h : heads) records.push_back(h.records);
  return records;
}

Status TokenRecords::take(Arena& arena) {
  OCTAVO_TRY_ASSIGN(codes_, coded_rows(c_.call, backend_, arena, context_));
  layout_.emplace(codes_, c_.dispatch.slots);
  sent_ = arena.take<char>(sum(c_.dispatch.records_to) * layout_->bytes());
  received_ = arena.take<char>(sum(from_) * layout_->bytes());
  shared_ = arena.take<char>(kSharedBytes);
  return {};
}

Result<ArrivedTokens> TokenRecords::exchange() {
  const Dispatch& d = c_.dispatch;
  OCTAVO_TRY(layout_->write(codes_, d, sent_, backend_, context_));
  layer_.ranks->all_to_all(sent_, times(d.records_to, layout_->bytes()), received_,
                           times(from_, layout_->bytes()));
  const auto& rule = layer_.w13.activation();
  Arena shared(shared_);
  return ArrivedTokens{layout_->rows(received_, sum(from_), rule ? &*rule : nullptr, shared),
                       layout_->ids(received_, sum(from_))};
}

Result<ExpertCall> answering_call(const Impl& layer, const ExpertCall& asked,
                                  const ArrivedTokens& tokens, const TensorView& factors,
                                  const ExecContext& context) {
  ExpertCall call;
  call.operation = kExpertParallel;
  call.x_dtype = asked.x_dtype;
  call.codes = tokens.codes;
  call.w13 = &layer.w13;
  call.w2 = &layer.w2;
  call.bias13 = layer.bias13;
  call.bias2 = layer.bias2;
  call.options = asked.options;
  const Site site{kExpertParallel, &kPlainNames};
  OCTAVO_TRY_ASSIGN(call.routing,
                    find_routes(site, {tokens.ids, factors, {}}, layer.own.size(), context.stream));
  OCTAVO_TRY(send_routes(kExpertParallel, context.place({}), call.routing));
  return call;
}

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

std::vector<std::int64_t> rows_in_order(const Routing& routing) {
  std::vector<std::int64_t> rows = routing.places;
  std::erase(rows, -1);
  return rows;
}

}  // namespace octavo
