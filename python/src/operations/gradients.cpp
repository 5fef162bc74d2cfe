// SPDX-License-Identifier: Apache-2.0
#include "gradients.hpp"

#include <array>
#include <string>

namespace octavo::python {
namespace {

// One order for everything: octavo.gradients.scaled_mm_vjp's `wanted`.
constexpr std::array<bool MatmulWanted::*, 9> kWanted{
    &MatmulWanted::a,       &MatmulWanted::b,       &MatmulWanted::bias,
    &MatmulWanted::scale_a, &MatmulWanted::scale_b, &MatmulWanted::alpha,
    &MatmulWanted::beta,    &MatmulWanted::c,       &MatmulWanted::scale_result};
constexpr std::array<Tensor MatmulGradients::*, 9> kGradients{
    &MatmulGradients::a,       &MatmulGradients::b,       &MatmulGradients::bias,
    &MatmulGradients::scale_a, &MatmulGradients::scale_b, &MatmulGradients::alpha,
    &MatmulGradients::beta,    &MatmulGradients::c,       &MatmulGradients::scale_result};

constexpr std::array<bool FusedExpertsWanted::*, 4> kExpertsWanted{
    &FusedExpertsWanted::x, &FusedExpertsWanted::topk_weights, &FusedExpertsWanted::bias13,
    &FusedExpertsWanted::bias2};
constexpr std::array<Tensor FusedExpertsGradients::*, 4> kExpertsGradients{
    &FusedExpertsGradients::x, &FusedExpertsGradients::topk_weights, &FusedExpertsGradients::bias13,
    &FusedExpertsGradients::bias2};

template <class Wanted, std::size_t size>
Wanted wanted_in(const std::array<bool Wanted::*, size>& order, const char* operation,
                 const std::vector<bool>& wanted) {
  if (wanted.size() > size) {
    raise(Code::invalid_argument, std::string(operation) + ": wanted must have at most " +
                                      std::to_string(size) + " entries; got " +
                                      std::to_string(wanted.size()));
  }
  Wanted result;
  for (std::size_t i = 0; i < wanted.size(); ++i) result.*order[i] = wanted[i];
  return result;
}

template <class Gradients, std::size_t size>
void append_in(const std::array<Tensor Gradients::*, size>& order, const Call& call,
               const Gradients& gradients, nb::list& list) {
  for (const auto member : order) {
    const Tensor& gradient = gradients.*member;
    if (gradient.defined()) list.append(call.give(gradient));
  }
}

}  // namespace

MatmulWanted wanted_of(const char* operation, const std::vector<bool>& wanted) {
  return wanted_in(kWanted, operation, wanted);
}

FusedExpertsWanted experts_wanted_of(const char* operation, const std::vector<bool>& wanted) {
  return wanted_in(kExpertsWanted, operation, wanted);
}

GradientOptions gradient_options(const Call& call, const nb::tuple& options) {
  GradientOptions o;
  o.dtype = call.dtype(nb::object(options[0]), "gradient dtype");
  o.float32 = nb::cast<bool>(options[1]);
  o.dequantized = nb::cast<bool>(options[2]);
  return o;
}

void append(const Call& call, const MatmulGradients& gradients, nb::list& list) {
  append_in(kGradients, call, gradients, list);
}

nb::list give(const Call& call, const FusedExpertsGradients& gradients) {
  nb::list list;
  append_in(kExpertsGradients, call, gradients, list);
  return list;
}

nb::list give(const Call& call, const MatmulGradients& gradients) {
  nb::list list;
  append(call, gradients, list);
  return list;
}

}  // namespace octavo::python
