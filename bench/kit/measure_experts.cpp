// SPDX-License-Identifier: Apache-2.0
// Interleaved rounds of fused experts and the machine's peaks.
#include "kit/measure_experts.hpp"

#include <algorithm>
#include <vector>

#include "kit/check.hpp"
#include "kit/experts.hpp"
#include "kit/peak.hpp"
#include "kit/rotation.hpp"
#include "kit/work.hpp"
#include "kit/workers.hpp"
#include "octavo/backend.hpp"

namespace octavo::kit {
namespace {

// Calls that take turns on experts: the touched ones get the places of others, or of another set of
// weights.
class ExpertsRotation {
 public:
  ExpertsRotation(const ExpertsLine& line, const char* backend) : operands_(line) {
    options_.backend = backend;
    const std::vector<std::int64_t> rows = operands_.routing.rows(line.experts);
    std::vector<std::int32_t> touched;
    for (std::int64_t e = 0; e < line.experts; ++e) {
      if (rows[static_cast<std::size_t>(e)] > 0) touched.push_back(static_cast<std::int32_t>(e));
    }
    touched_ = static_cast<std::int64_t>(touched.size());
    const std::int64_t turns = line.experts / touched_;
    for (std::int64_t turn = 0; turn < turns; ++turn) add_turn(touched, turn);
    double bytes = 0.0;
    while (w13_.empty() || !enough_sets(w13_.size(), bytes)) {
      const std::uint64_t set = w13_.size();
      w13_.push_back(operands_.pack(2 * line.inner, line.hidden, set, backend));
      w2_.push_back(operands_.pack(line.hidden, line.inner, set, backend));
      bytes += static_cast<double>(w13_.back().bytes() + w2_.back().bytes()) *
               static_cast<double>(turns * touched_) / static_cast<double>(line.experts);
    }
    out_ = Tensor::empty(line.out, {line.tokens, line.hidden});
    options_.out = out_;
  }
  void next(const ExecContext& context) {
    const std::size_t turn = position_ % ids_.size();
    const std::size_t set = position_ / ids_.size() % w13_.size();
    ++position_;
    (void)fused_experts(operands_.x, w13_[set], w2_[set], operands_.routing.weights, ids_[turn],
                        options_, context);
  }
  const ExpertOperands& operands() const { return operands_; }
  const ExpertWeights& w13() const { return w13_.front(); }
  const ExpertWeights& w2() const { return w2_.front(); }
  std::int64_t touched() const { return touched_; }

 private:
  void add_turn(const std::vector<std::int32_t>& touched, std::int64_t turn) {
    const Tensor& first = operands_.routing.ids;
    const Tensor ids = Tensor::empty(DType::int32, first.view().dims());
    for (std::int64_t i = 0; i < ids.numel(); ++i) {
      const auto place =
          std::lower_bound(touched.begin(), touched.end(), first.data_as<std::int32_t>()[i]) -
          touched.begin();
      ids.data_as<std::int32_t>()[i] = static_cast<std::int32_t>(turn * touched_ + place);
    }
    ids_.push_back(ids);
  }

  ExpertOperands operands_;
  std::vector<ExpertWeights> w13_, w2_;
  std::vector<Tensor> ids_;
  Tensor out_;
  FusedExpertsOptions options_;
  std::int64_t touched_ = 0;
  std::size_t position_ = 0;
};

// Null: the backend is chosen.
const char* name_of(const std::string& backend) {
  return backend.empty() ? nullptr : backend.c_str();
}

bool matches(const ExpertOperands& o, const ExpertWeights& w13, const ExpertWeights& w2,
             const char* backend) {
  FusedExpertsOptions options;
  options.backend = backend;
  const Tensor got = fused_experts(o.x, w13, w2, o.routing.weights, o.routing.ids, options);
  return same_bytes(got, compose_experts(o, w13, w2, backend));
}

}  // namespace

std::string experts_backend(const ExpertsLine& line, const std::string& forced) {
  ExpertsLine small = line;
  small.experts = small.topk = 1;
  small.tokens = 1;
  const ExpertOperands o(small);
  const char* backend = name_of(forced);
  const FusedExpertsExplanation e =
      explain_fused_experts(o.x, o.pack(2 * line.inner, line.hidden, 0, backend),
                            o.pack(line.hidden, line.inner, 0, backend), o.routing.weights,
                            o.routing.ids, {.backend = backend});
  std::string chosen;
  for (const Explanation& product : e.products) {
    for (const Candidate& c : product.candidates) {
      if (!c.chosen || c.backend == chosen) continue;
      chosen += (chosen.empty() ? "" : " and ") + c.backend;
    }
  }
  return chosen;
}

bool experts_match_composition(const ExpertsLine& line, const std::string& backend) {
  const ExpertOperands operands(line);
  const ExpertWeights w13 = operands.pack(2 * line.inner, line.hidden, 0, name_of(backend));
  const ExpertWeights w2 = operands.pack(line.hidden, line.inner, 0, name_of(backend));
  return matches(operands, w13, w2, name_of(backend));
}

ExpertsFigure measure_experts(const ExpertsLine& line, const MeasureOptions& o) {
  ExpertsFigure f;
  f.backend = experts_backend(line, o.backend);
  const ExecContext context{.executor = o.executor};
  const char* backend = name_of(o.backend);
  ExpertsRotation rotation(line, backend);
  f.touched = rotation.touched();
  f.matches_composition = matches(rotation.operands(), rotation.w13(), rotation.w2(), backend);
  const ExpertProducts products(rotation.operands(), rotation.w13(), rotation.w2());
  const Work work = work_of(products.problem());
  const auto ours = [&] { rotation.next(context); };
  const auto alone = [&] { rotation.next({.executor = &serial_executor()}); };
  std::vector<double> times, again, scaling, peaks, reads, fractions;
  for (f.rounds = 0; f.rounds < o.rounds; ++f.rounds) {
    times.push_back(seconds_per_call(ours, o.sample_seconds));
    again.push_back(seconds_per_call(ours, o.sample_seconds) / times.back());
    if (o.threads > 1) scaling.push_back(seconds_per_call(alone, o.sample_seconds) / times.back());
    peaks.push_back(measure_peak(peak_kind(line.a, line.weight), o.threads, o.sample_seconds).gops);
    reads.push_back(measure_read_bandwidth(o.threads, o.sample_seconds));
    const Floor floor = work.floor(peaks.back(), reads.back());
    fractions.push_back(floor.seconds / times.back());
    f.memory_bound = floor.memory_bound;
  }
  const double median = median_of(times).value;
  f.median_us = median * 1e6;
  f.best_us = *std::min_element(times.begin(), times.end()) * 1e6;
  f.gops = work.ops / median * 1e-9;
  f.gbps = work.bytes / median * 1e-9;
  f.peak_gops = median_of(peaks).value;
  f.read_gbps = median_of(reads).value;
  f.roofline = median_of(fractions);
  f.noise = median_of(again);
  f.scaling = median_of(scaling);
  return f;
}

}  // namespace octavo::kit
