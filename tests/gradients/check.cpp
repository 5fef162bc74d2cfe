// SPDX-License-Identifier: Apache-2.0
// The loops over ways to ask for gradients.
#include "gradients/check.hpp"

namespace octavo::test {
namespace {

// With and without the operand's own scale, in float32 or rounded once to bfloat16, with and
// without the gradients of scales (which change how a and b are computed).
template <class Options, class Problem, class Vjp>
void check(const std::string& what, const TensorView& grad, const Operand& a, const Operand& b,
           const Options& options, const Problem& problem, const Vjp& vjp) {
  for (const bool dequantized : {false, true}) {
    for (const bool wide : {false, true}) {
      const OracleOptions how{problem.second, dequantized, wide};
      const ExactGradients exact = exact_gradients(problem.first, grad, how);
      for (const bool scales : {true, false}) {
        SCOPED_TRACE(what + (dequantized ? " dequantized" : "") + (wide ? " float32" : "") +
                     (scales ? " scales" : ""));
        MatmulWanted wanted = everything(a, b, options);
        if (!scales) wanted.scale_a = wanted.scale_b = false;
        const GradientOptions o{
            .dtype = wide ? float32 : undefined, .float32 = wide, .dequantized = dequantized};
        compare(vjp(grad, a, b, options, wanted, o), a, b, options, exact);
        if (testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace

void check_scaled_mm(const std::string& what, const TensorView& grad, const Operand& a,
                     const Operand& b, const ScaledMmOptions& options) {
  check(what, grad, a, b, options, std::pair{scaled_mm_problem(a, b, options), options.out_dtype},
        [](auto&&... x) { return scaled_mm_vjp(x...); });
}

void check_grouped_mm(const std::string& what, const TensorView& grad, const Operand& a,
                      const Operand& b, const GroupedOptions& options) {
  check(what, grad, a, b, options, std::pair{grouped_mm_problem(a, b, options), options.out_dtype},
        [](auto&&... x) { return grouped_mm_vjp(x...); });
}

}  // namespace octavo::test
