// SPDX-License-Identifier: Apache-2.0
// A problem in the words of the peers' interface, and its rotation.
#include "kit/peers/peers.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "kit/operands/rotation.hpp"
#include "kit/oracle/oracle.hpp"
#include "kit/peers/peer.hpp"
#include "kit/peers/peer_form.hpp"

namespace octavo::kit {
namespace {

constexpr const char* kAsBfloat16 = "bf16";

}  // namespace

struct PeerProblem::Impl {
  ProblemLine line;
  const MatmulProblem* problem;
  int threads;
  bool cold;
  std::array<std::optional<PeerForm>, 3> forms;  // by operands: made when first asked for

  PeerForm& form(PeerOperands operands) {
    std::optional<PeerForm>& form = forms[static_cast<std::size_t>(operands)];
    if (form) return *form;
    fill_form(form.emplace(), line, *problem, operands);
    for (PeerMember& p : form->members) {
      p.product.threads = threads;
      p.product.cold = cold;
      p.product.plain = !line.prepacked;
    }
    return *form;
  }
};

PeerProblem::PeerProblem(const ProblemLine& line, const MatmulProblem& problem, int threads,
                         bool cold)
    : impl_(new Impl{line, &problem, threads, cold, {}}) {}
PeerProblem::~PeerProblem() = default;

struct PeerRun::Impl {
  using Set = std::vector<std::unique_ptr<peers::Instance>>;  // an instance for each member
  std::string not_run;
  const char* as = "";
  PeerForm* form = nullptr;
  std::vector<Set> sets;
  std::size_t turn = 0;
  bool members_one_by_one = false;

  // Sets of weights, as many as it takes to find none of them in a cache; or why there are none.
  void prepare(const peers::Peer& peer, PeerForm& from, bool cold) {
    form = &from;
    not_run = from.refusal == nullptr ? "" : from.refusal;
    double bytes = 0.0;
    while (not_run.empty() &&
           (sets.empty() || (cold && bytes > 0.0 && !enough_sets(sets.size(), bytes)))) {
      Set& set = sets.emplace_back();
      for (PeerMember& p : from.members) {
        set.emplace_back(peer.create(p.product));
        if (set.back() == nullptr) {
          not_run = peer.failure();
          sets.clear();
          return;
        }
        bytes += set.back()->weight_bytes();
      }
    }
  }
};

PeerRun::PeerRun(const PeerEntry& entry, PeerProblem& problem) : impl_(new Impl) {
  impl_->not_run = entry.missing;
  if (entry.peer == nullptr) return;
  PeerProblem::Impl& p = *problem.impl_;
  impl_->members_one_by_one = group_count(*p.problem) > 1;
  const bool float32 = entry.peer->wants_float32;
  impl_->prepare(*entry.peer, p.form(float32 ? PeerOperands::float32 : PeerOperands::codes),
                 p.cold);
  if (float32 || impl_->not_run.empty() || !has_bfloat16_form(p.line)) return;
  impl_->as = kAsBfloat16;
  impl_->prepare(*entry.peer, p.form(PeerOperands::bfloat16), p.cold);
}
PeerRun::~PeerRun() = default;
PeerRun::PeerRun(PeerRun&&) noexcept = default;

const std::string& PeerRun::not_run() const { return impl_->not_run; }

const char* PeerRun::as() const { return impl_->as; }

std::string PeerRun::note() const {
  if (impl_->sets.empty() || impl_->sets.front().empty()) return {};
  std::string text = impl_->sets.front().front()->note();
  if (impl_->form->without_scales) text += ", scales along K left out";
  if (impl_->members_one_by_one) text += ", members one by one";
  return text;
}

void PeerRun::call() {
  Impl::Set& set = impl_->sets[impl_->turn++ % impl_->sets.size()];
  for (const std::unique_ptr<peers::Instance>& instance : set) instance->run();
}

double PeerRun::error_ratio(std::int64_t rows, std::int64_t columns) const {
  double worst = 0.0;
  if (impl_->sets.empty()) return worst;
  const Impl::Set& set = impl_->sets.front();
  for (std::size_t i = 0; i < set.size(); ++i) {
    if (impl_->form->without_scales || !set[i]->complete()) return -1.0;
    const Verdict v = compare_exact(impl_->form->members[i].judged, rows, columns);
    // Skipped are results that are not finite; peers are given no problem that has many.
    if (v.skipped > v.checked) return std::numeric_limits<double>::max();
    worst = std::max(worst, v.max_ratio);
  }
  return worst;
}

}  // namespace octavo::kit
