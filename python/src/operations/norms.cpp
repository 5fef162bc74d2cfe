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

}  // namespace

void bind_norms(nb::module_& m) {
  define_rms_norm<norm>(m, "rms_norm", "See octavo.norms.rms_norm.");
}

}  // namespace octavo::python
