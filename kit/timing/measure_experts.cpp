// SPDX-License-Identifier: Apache-2.0
// Lines of fused experts, against the bits of the separate operations and the machine's peaks.
#include <algorithm>
#include <vector>

#include "kit/operands/experts.hpp"
#include "kit/operands/rotation.hpp"
#include "kit/oracle/check.hpp"
#include "kit/timing/measure_call.hpp"
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

class ExpertsCall : public CallLine {
 public:
  explicit ExpertsCall(std::string_view line) : line_(parse_experts_line(line)) {}

  std::string text() const override { return to_string(line_); }
  // Of both products.
  std::string backend(const std::string& forced) const override {
    ExpertsLine small = line_;
    small.experts = small.topk = small.tokens = 1;
    const ExpertOperands o(small);
    const char* name = name_of(forced);
    const FusedExpertsExplanation e =
        explain_fused_experts(o.x, o.pack(2 * line_.inner, line_.hidden, 0, name),
                              o.pack(line_.hidden, line_.inner, 0, name), o.routing.weights,
                              o.routing.ids, {.backend = name});
    std::string chosen;
    for (const Explanation& product : e.products) {
      for (const Candidate& c : product.candidates) {
        if (!c.chosen || c.backend == chosen) continue;
        chosen += (chosen.empty() ? "" : " and ") + c.backend;
      }
    }
    return chosen;
  }
  bool right(const std::string& forced) const override {
    const ExpertOperands operands(line_);
    const char* name = name_of(forced);
    return matches(operands, operands.pack(2 * line_.inner, line_.hidden, 0, name),
                   operands.pack(line_.hidden, line_.inner, 0, name), name);
  }
  // The work: codes, weights and outputs of each member of both products once, of touched experts
  // only; nothing for quantisers, activation function and sums.
  CallFigure measure(const MeasureOptions& o) const override {
    CallFigure f;
    f.backend = backend(o.backend);
    const char* name = name_of(o.backend);
    ExpertsRotation rotation(line_, name);
    f.touched = rotation.touched();
    f.experts = line_.experts;
    f.right = matches(rotation.operands(), rotation.w13(), rotation.w2(), name);
    const ExpertProducts products(rotation.operands(), rotation.w13(), rotation.w2());
    static_cast<Timing&>(f) =
        time_calls([&](const ExecContext& context) { rotation.next(context); },
                   work_of(products.problem()), peak_kind(line_.a, line_.weight), o);
    return f;
  }

 private:
  ExpertsLine line_;
};

}  // namespace

std::unique_ptr<CallLine> read_experts_call(std::string_view line) {
  return std::make_unique<ExpertsCall>(line);
}

}  // namespace octavo::kit
