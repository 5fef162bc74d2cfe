// SPDX-License-Identifier: Apache-2.0
#include "gradients.hpp"

#include <array>
#include <string>

namespace octavo::python {
namespace {

// One order for everything: octavo.scaled_mm_vjp's `wanted`.
constexpr std::array<bool MatmulWanted::*, 9> kWanted{
    &MatmulWanted::a,       &MatmulWanted::b,       &MatmulWanted::bias,
    &MatmulWanted::scale_a, &MatmulWanted::scale_b, &MatmulWanted::alpha,
    &MatmulWanted::beta,    &MatmulWanted::c,       &MatmulWanted::scale_result};
constexpr std::array<Tensor MatmulGradients::*, 9> kGradients{
    &MatmulGradients::a,       &MatmulGradients::b,       &MatmulGradients::bias,
    &MatmulGradients::scale_a, &MatmulGradients::scale_b, &MatmulGradients::alpha,
    &MatmulGradients::beta,    &MatmulGradients::c,       &MatmulGradients::scale_result};

}  // namespace

MatmulWanted wanted_of(const char* operation, const std::vector<bool>& wanted) {
  if (wanted.size() > kWanted.size()) {
    raise(Code::invalid_argument, std::string(operation) +
                                      ": wanted must have at most 9 entries; got " +
                                      std::to_string(wanted.size()));
  }
  MatmulWanted result;
  for (std::size_t i = 0; i < wanted.size(); ++i) result.*kWanted[i] = wanted[i];
  return result;
}

GradientOptions gradient_options(const Call& call, const nb::tuple& options) {
  GradientOptions o;
  o.dtype = call.dtype(nb::object(options[0]), "gradient dtype");
  o.float32 = nb::cast<bool>(options[1]);
  o.dequantized = nb::cast<bool>(options[2]);
  return o;
}

void append(const Call& call, const MatmulGradients& gradients, nb::list& list) {
  for (const auto member : kGradients) {
    const Tensor& gradient = gradients.*member;
    if (gradient.defined()) list.append(call.give(gradient));
  }
}

nb::list give(const Call& call, const MatmulGradients& gradients) {
  nb::list list;
  append(call, gradients, list);
  return list;
}

}  // namespace octavo::python
