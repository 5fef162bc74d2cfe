// SPDX-License-Identifier: Apache-2.0
// The loops over ways to ask for gradients.
#include "gradients/check.hpp"

#include <algorithm>

namespace octavo::test {
namespace {

void expect_same(const char* what, const Tensor& got, const Tensor& want) {
  ASSERT_EQ(got.defined(), want.defined()) << what;
  if (!got.defined()) return;
  ASSERT_EQ(got.numel(), want.numel()) << what;
  const auto *g = got.data_as<std::uint32_t>(), *w = want.data_as<std::uint32_t>();
  EXPECT_TRUE(std::equal(g, g + got.numel(), w)) << what << " differs from that in float32";
}

// With and without the operand's own scale, in float32 or rounded once to bfloat16, with and
// without the gradients of scales (which change how a and b are computed: a scale's gradient always
// takes the gradient in float32).
template <class Options, class Problem, class Vjp>
void check(const std::string& what, const TensorView& grad, const Operand& a, const Operand& b,
           const Options& options, const Problem& problem, const Vjp& vjp) {
  for (const bool dequantized : {false, true}) {
    MatmulGradients in_float32;
    for (const bool wide : {true, false}) {
      const OracleOptions how{problem.second, dequantized, wide};
      const ExactGradients exact = exact_gradients(problem.first, grad, how);
      for (const bool scales : {true, false}) {
        SCOPED_TRACE(what + (dequantized ? " dequantized" : "") + (wide ? " float32" : "") +
                     (scales ? " scales" : ""));
        MatmulWanted wanted = everything(a, b, options);
        if (!scales) wanted.scale_a = wanted.scale_b = false;
        const GradientOptions o{
            .dtype = wide ? float32 : undefined, .float32 = wide, .dequantized = dequantized};
        const MatmulGradients got = vjp(grad, a, b, options, wanted, o);
        compare(got, a, b, options, exact);
        if (wide && scales) in_float32 = got;
        if (!wide && scales) {
          expect_same("scale_a", got.scale_a, in_float32.scale_a);
          expect_same("scale_b", got.scale_b, in_float32.scale_b);
        }
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
