// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/general_product.hpp"
#include "backends/cuda/passes/passes.hpp"
#include "core/error.hpp"
namespace octavo::cuda {
namespace { Status no() noexcept { return fail(Code::unsupported, "pending"); } }
Status check_finite(const FiniteProblem&, const ExecContext&) noexcept { return no(); }
Status code_errors(const CodeErrorsProblem&, const ExecContext&) noexcept { return no(); }
Status prologue(Member& m, const MatmulOptions&, Arena&, const ExecContext&) noexcept { return m.a.quantise != nullptr ? no() : Status(); }
Status silu_and_mul(const SiluProblem&, const ExecContext&) noexcept { return no(); }
Status combine(const CombineProblem&, const ExecContext&) noexcept { return no(); }
Status activate(const ActivateProblem&, Rows&, Arena&, const ExecContext&) noexcept { return no(); }
Status run_general(const Member&, const MatmulOptions&, const Place&) noexcept { return no(); }
}  // namespace octavo::cuda
