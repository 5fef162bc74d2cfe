// SPDX-License-Identifier: Apache-2.0
// octavo.norms.
#include "octavo/norm.hpp"

#include "bindings.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

nb::object norm(const RmsNormArguments& given) {
  Call call("rms_norm");
  const TensorView x = call.tensor(given.x, "x");
  const RmsNormOptions o = options_of(call, given);
  const Tensor tensor = unlocked([&] { return rms_norm(x, o, call.context()); });
  return given.out.is_none() ? call.give(tensor) : nb::object(nb::borrow(given.out));
}

nb::object quantized_norm(const RmsNormQuantizeArguments& given) {
  Call call("rms_norm_quantize");
  const TensorView x = call.tensor(given.x, "x");
  const RmsNormQuantizeOptions o = options_of(call, given);
  return call.give(unlocked([&] { return rms_norm_quantize(x, o, call.context()); }));
}

nb::object quantized_silu(const SiluAndMulQuantizeArguments& given) {
  Call call("silu_and_mul_quantize");
  const TensorView x = call.tensor(given.x, "x");
  const SiluAndMulQuantizeOptions o = options_of(call, given);
  return call.give(unlocked([&] { return silu_and_mul_quantize(x, o, call.context()); }));
}

}  // namespace

void bind_norms(nb::module_& m) {
  define_rms_norm<norm>(m, "rms_norm", "See octavo.norms.rms_norm.");
  define_rms_norm_quantize<quantized_norm>(m, "rms_norm_quantize",
                                           "See octavo.norms.rms_norm_quantize.");
  define_silu_and_mul_quantize<quantized_silu>(m, "silu_and_mul_quantize",
                                               "See octavo.moe.silu_and_mul_quantize.");
}

}  // namespace octavo::python
