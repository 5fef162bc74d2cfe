// SPDX-License-Identifier: Apache-2.0
// Gradients of products in float64, straight from the formulas of specification section 5.
//
// The oracle walks the members of the forward problem and adds every term to the element of the
// argument that it belongs to, known by its address. So it needs no shape rules of its own.
#pragma once

#include <functional>
#include <map>

#include "ops/helpers.hpp"

namespace octavo::test {

/// An exact gradient, and how far a computed one may be from it.
struct Term {
  double value = 0.0;
  double magnitude = 0.0;  ///< of the terms of all sums inside it
  double steps = 0.0;      ///< n of gamma = n u / (1 - n u)
  bool rounded = false;    ///< a factor may have been rounded to bfloat16: 2^-8 of the magnitude
};

/// Exact gradients by the addresses of the arguments' elements; a number's address is null.
using Terms = std::map<const void*, Term>;

struct ExactGradients {
  Terms a, b, bias, scale_a, scale_b, alpha, beta, c, scale_result;
};

struct OracleOptions {
  DType out_dtype = DType::undefined;  ///< of the result: quantised ones saturate
  bool dequantized = false;
  bool float32 = false;
};

/// The gradients of sum(grad * result). `problem` is the forward problem.
ExactGradients exact_gradients(MatmulProblem problem, const TensorView& grad,
                               const OracleOptions& options);

/// sum(grad * result) with `delta` added to one element of the arguments, by its address.
double exact_loss(MatmulProblem problem, const TensorView& grad, const void* element, double delta);

/// Every element of `gradient` is within its bound, shape and all. `argument` undefined: a number.
void expect_gradient(const char* what, const TensorView& gradient, const TensorView& argument,
                     const Terms& exact);

}  // namespace octavo::test
