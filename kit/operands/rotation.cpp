// SPDX-License-Identifier: Apache-2.0
// Sets of weights, and turns on them.
#include "kit/operands/rotation.hpp"

#include <cstdint>
#include <utility>

#include "kit/operands/work.hpp"

namespace octavo::kit {
namespace {

// Bytes of weights that calls read before one of them comes again: of a list all, since members
// take turns on each other's; else those that a call on this set reads.
double rotating_bytes(const MatmulProblem& p) {
  const bool list = p.groups.split == Split::list;
  double bytes = 0.0;
  bool touched = false;
  for (std::int64_t g = 0; g < group_count(p); ++g) {
    const Member m = member(p, g);
    touched = touched || m.out.shape[0] > 0;
    if (list || m.out.shape[0] > 0) bytes += weight_bytes(m.b);
  }
  return touched ? bytes : 0.0;
}

}  // namespace

Rotation::Rotation(const ProblemLine& line, bool cold, const char* backend)
    : operands_(line, Content::gaussian) {
  add(make_problem(line, operands_, backend));
  const double each = rotating_bytes(first());
  for (double bytes = each; cold && each > 0.0 && !enough_sets(problems_.size(), bytes);
       bytes += each) {
    // Packing copies: the sets of a prepacked weight are packed from one.
    others_.emplace_back(operands_, !line.prepacked);
    add(make_problem(line, others_.back(), backend));
  }
  turn_ = first();
  if (!cold) return;
  if (turn_.groups.split != Split::list) {
    slots_.push_back(&turn_.single.b);
    return;
  }
  list_.assign(turn_.groups.list.begin(), turn_.groups.list.end());
  turn_.groups.list = list_;
  for (Member& m : list_) {
    if (m.out.shape[0] > 0) slots_.push_back(&m.b);
  }
}

void Rotation::add(LineProblem problem) {
  const MatmulProblem& p = problem.problem();
  if (p.groups.split == Split::list) {
    for (const Member& m : p.groups.list) weights_.push_back(m.b);
  } else {
    weights_.push_back(p.single.b);
  }
  problems_.push_back(std::move(problem));
}

const MatmulProblem& Rotation::next() {
  for (OperandView* slot : slots_) *slot = weights_[position_++ % weights_.size()];
  return turn_;
}

}  // namespace octavo::kit
