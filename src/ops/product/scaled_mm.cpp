// SPDX-License-Identifier: Apache-2.0
// The entry points of single products.
#include <algorithm>

#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "octavo/matmul.hpp"
#include "ops/product/lower.hpp"
#include "ops/run.hpp"

namespace octavo {

Tensor scaled_mm(const Operand& a, const Operand& b, const ScaledMmOptions& options,
                 const ExecContext& context) {
  return at_edge("scaled_mm", [&]() -> Result<Tensor> {
    OCTAVO_TRY_ASSIGN(Lowered lowered, lower_product({"scaled_mm"}, a, b, options));
    return run_lowered(lowered, context, options.backend);
  });
}

MatmulProblem scaled_mm_problem(const Operand& a, const Operand& b,
                                const ScaledMmOptions& options) {
  return at_edge("scaled_mm", [&]() -> Result<MatmulProblem> {
    OCTAVO_TRY_ASSIGN(const Lowered lowered, lower_product({"scaled_mm"}, a, b, options));
    return outlined(lowered);
  });
}

namespace {

// The problem functions leave the memory of an output that nobody gave to the caller.
Status check_outputs(const MatmulProblem& p) {
  const auto lacks = [](const Member& member) {
    const MatrixView& out = member.out;
    return !out.defined() || (out.data == nullptr && out.numel() > 0);
  };
  const bool list = p.groups.split == Split::list;
  if (list ? std::ranges::none_of(p.groups.list, lacks) : !lacks(p.single)) return {};
  return fail(Code::invalid_argument,
              "{}: out must be given to run a problem (options.out, or set_output); got none",
              p.operation);
}

}  // namespace

void run(const MatmulProblem& problem, const ExecContext& context, const char* backend) {
  at_edge(problem.operation, [&]() -> Status {
    OCTAVO_TRY(check_outputs(problem));
    if (!problem.groups.offs.defined()) return run_problem(problem, context, backend);
    OCTAVO_TRY_ASSIGN(const Tensor offs,
                      read_offsets({problem.operation}, problem.groups.offs, context));
    MatmulProblem own = problem;
    own.groups.offs = offs.view();
    std::int64_t& alignment = own.groups.start_alignment;
    // What the caller says may be old.
    alignment = on_host(offs) ? std::min(alignment, start_alignment(own)) : 1;
    return run_problem(own, context, backend);
  });
}

std::size_t workspace_bytes(const MatmulProblem& problem, const ExecContext& context,
                            const char* backend) {
  return at_edge(problem.operation, [&]() -> Result<std::size_t> {
    OCTAVO_TRY_ASSIGN(const Plan plan, make_plan(problem, context, backend));
    return plan.workspace_bytes == 0 ? 0 : plan.workspace_bytes + 63;  // any alignment will do
  });
}

}  // namespace octavo
