// SPDX-License-Identifier: Apache-2.0
// What is made of other passes as on the host.
#include "backends/cuda/passes/passes.hpp"
#include "backends/host/passes.hpp"

namespace octavo::cuda {

Status quantize_activations(Member& member, const MatmulOptions& options, Arena& arena,
                            const ExecContext& context) noexcept {
  return host::quantize_activations_by(kPasses, member, options, arena, context,
                                       host::Memory::device);
}

Status activate(const ActivateProblem& problem, Rows& result, Arena& arena,
                const ExecContext& context) noexcept {
  return host::activate_by(kPasses, problem, result, arena, context, host::Memory::device);
}

}  // namespace octavo::cuda
