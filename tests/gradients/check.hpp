// SPDX-License-Identifier: Apache-2.0
// A forward call, its gradients, and the comparison of each with the oracle.
#pragma once

#include <string>

#include "gradients/oracle.hpp"

namespace octavo::test {

/// Everything that can be wanted of what these options give.
template <class Options>
MatmulWanted everything(const Operand& a, const Operand& b, const Options& o) {
  const auto given = [](const Scale& scale) { return scale.kind() > Scale::Kind::null; };
  return {.a = true,
          .b = true,
          .bias = o.bias.defined(),
          .scale_a = given(o.scale_a) || a.scale[0].present(),
          .scale_b = given(o.scale_b) || b.scale[0].present(),
          .alpha = given(o.alpha),
          .beta = given(o.beta),
          .c = o.c.defined(),
          .scale_result = given(o.scale_result)};
}

/// The view of a tensor argument; a number's is undefined.
inline TensorView argument(const Scale& scale, const TensorView& carried = {}) {
  return scale.kind() == Scale::Kind::tensor      ? scale.values()
         : scale.kind() == Scale::Kind::undefined ? carried
                                                  : TensorView();
}

/// Compares what is defined.
template <class Options>
void compare(const MatmulGradients& got, const Operand& a, const Operand& b, const Options& o,
             const ExactGradients& exact) {
  const auto check = [](const char* what, const Tensor& gradient, const TensorView& given,
                        const Terms& terms) {
    if (gradient.defined()) expect_gradient(what, gradient, given, terms);
  };
  check("a", got.a, a.data, exact.a);
  check("b", got.b, b.data, exact.b);
  check("bias", got.bias, o.bias, exact.bias);
  check("scale_a", got.scale_a, argument(o.scale_a, a.scale[0].data), exact.scale_a);
  check("scale_b", got.scale_b, argument(o.scale_b, b.scale[0].data), exact.scale_b);
  check("alpha", got.alpha, argument(o.alpha), exact.alpha);
  check("beta", got.beta, argument(o.beta), exact.beta);
  check("c", got.c, o.c, exact.c);
  check("scale_result", got.scale_result, argument(o.scale_result), exact.scale_result);
}

/// The gradients of scaled_mm, all of them, in every way they can be asked for.
void check_scaled_mm(const std::string& what, const TensorView& grad, const Operand& a,
                     const Operand& b, const ScaledMmOptions& options);
void check_grouped_mm(const std::string& what, const TensorView& grad, const Operand& a,
                      const Operand& b, const GroupedOptions& options);

}  // namespace octavo::test
