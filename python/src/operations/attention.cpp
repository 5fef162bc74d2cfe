// SPDX-License-Identifier: Apache-2.0
// octavo.attention.
#include "octavo/attention.hpp"

#include "bindings.hpp"
#include "options.hpp"

namespace octavo::python {
namespace {

nb::object attend(const AttentionArguments& given) {
  Call call("attention");
  const TensorView q = call.tensor(given.q, "q");
  const TensorView keys = call.tensor(given.keys, "keys");
  const TensorView key_scales = call.tensor(given.key_scales, "key_scales");
  const TensorView values = call.tensor(given.values, "values");
  const TensorView value_scales = call.tensor(given.value_scales, "value_scales");
  const AttentionOptions o = options_of(call, given);
  const Tensor tensor = unlocked(
      [&] { return attention(q, keys, key_scales, values, value_scales, o, call.context()); });
  return given.out.is_none() ? call.give(tensor) : nb::object(nb::borrow(given.out));
}

}  // namespace

void bind_attention(nb::module_& m) {
  define_attention<attend>(m, "attention", "See octavo.attention.attention.");
}

}  // namespace octavo::python
