// SPDX-License-Identifier: Apache-2.0
// Section 7's rms_norm_quantize and silu_and_mul_quantize in so many words: the rows, and their
// codes.
#include "backends/reference/reference.hpp"
#include "core/error.hpp"

namespace octavo::reference {

Status quantize_rows(const QuantizeRowsProblem& problem, Arena& arena,
                     const ExecContext& context) noexcept {
  QuantizeProblem q = problem.quantize;
  q.x = take_matrix(arena, q.x.dtype, q.x.shape[0], q.x.shape[1], q.x.device);
  if (arena.counting()) return {};
  RmsNormProblem norm = problem.norm;
  SiluProblem silu = problem.silu;
  norm.out = silu.out = q.x;
  OCTAVO_TRY(norm.x.defined() ? rms_norm(norm, context) : silu_and_mul(silu, context));
  return quantize(q, context);
}

}  // namespace octavo::reference
