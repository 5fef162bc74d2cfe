// SPDX-License-Identifier: Apache-2.0
// What every gradient function takes and gives.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/vector.h>

#include <vector>

#include "octavo/gradient.hpp"
#include "tensors/arguments.hpp"

namespace octavo::python {

/// `grad`, `wanted` and `options` of a gradient function: bools in the order of MatmulWanted
/// (fewer: the rest is not wanted), and (dtype, float32, dequantized).
struct GradientArguments {
  nb::handle grad;
  const std::vector<bool>& wanted;
  const nb::tuple& options;
};

MatmulWanted wanted_of(const char* operation, const std::vector<bool>& wanted);
GradientOptions gradient_options(const Call& call, const nb::tuple& options);

/// The gradients of experts, in the order of FusedExpertsWanted.
FusedExpertsWanted experts_wanted_of(const char* operation, const std::vector<bool>& wanted);
nb::list give(const Call& call, const FusedExpertsGradients& gradients);

/// Appends the gradients that there are, in the order of MatmulWanted.
void append(const Call& call, const MatmulGradients& gradients, nb::list& list);

/// The list of the wanted gradients.
nb::list give(const Call& call, const MatmulGradients& gradients);

/// Calls vjp(grad, wanted, options) without the interpreter's lock and gives what was wanted.
template <class Vjp>
nb::list run_vjp(Call& call, const GradientArguments& g, const Vjp& vjp) {
  const TensorView grad = call.tensor(g.grad, "grad");
  const MatmulWanted wanted = wanted_of(call.operation(), g.wanted);
  const GradientOptions options = gradient_options(call, g.options);
  return give(call, unlocked([&] { return vjp(grad, wanted, options); }));
}

}  // namespace octavo::python
