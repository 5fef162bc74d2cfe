// SPDX-License-Identifier: Apache-2.0
// A canonical weight, packed.
#include "core/error.hpp"
#include "octavo/packed.hpp"
#include "octavo/weight.hpp"

namespace octavo {

PackedWeight pack(const Weight& weight, const char* backend, bool gathered) {
  return at_edge("pack", [&] {
    if (weight.columns.defined() && !gathered) {
      refuse(Code::invalid_argument,
             "pack: weight.columns must be applied to the activations, x[..., columns], and "
             "`gathered` say so, since the weight's columns are in another order; got an order of "
             "{} columns",
             weight.columns.numel());
    }
    const Operand stored =
        weight.codes.scale.defined() ? Operand(weight.codes) : Operand(weight.codes.data);
    return pack(stored.transposed(), {.activation = weight.activation, .backend = backend});
  });
}

}  // namespace octavo
