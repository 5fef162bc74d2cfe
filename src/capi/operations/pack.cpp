// SPDX-License-Identifier: Apache-2.0
// Packed weights.
#include "capi/options.hpp"
#include "octavo/packed.hpp"

using namespace octavo::capi;

octavo_code octavo_pack(const octavo_operand* weight, const octavo_pack_options* options,
                        const octavo_context* context, octavo_packed** result) {
  return guarded("pack", [&] {
    Slot slot({"pack", "result"}, result);
    const Context run_on("pack", context);
    const OperandArgument operand({"pack", "weight"}, weight);
    slot.fill(octavo::pack(operand, options_from({"pack", "options"}, options), run_on));
  });
}

octavo_code octavo_unpack(const octavo_packed* weight, const octavo_context* context,
                          octavo_quantized** result) {
  return guarded("unpack", [&] {
    Slot slot({"unpack", "result"}, result);
    const Context run_on("unpack", context);
    slot.fill(octavo::unpack(value_of({"unpack", "weight"}, weight), run_on));
  });
}

octavo_code octavo_packed_describe(const octavo_packed* weight, octavo_packed_info* result) {
  constexpr const char* kName = "packed_describe";
  return guarded(kName, [&] {
    const octavo::PackedWeight& w = value_of({kName, "weight"}, weight);
    octavo_packed_info info{};
    info.k = w.k();
    info.n = w.n();
    info.bytes = w.bytes();
    info.layout = w.layout();
    info.dtype = dtype_to(w.dtype());
    info.has_activation = w.activation().has_value() ? 1 : 0;
    write_struct({kName, "result"}, info, result);
  });
}

octavo_code octavo_packed_activation(const octavo_packed* weight, octavo_activation* result) {
  return guarded("packed_activation", [&] {
    const ArgumentPath place{"packed_activation", "weight"};
    give_activation(place, value_of(place, weight).activation(), result);
  });
}

octavo_packed* octavo_packed_retain(octavo_packed* weight) { return retain(weight); }
void octavo_packed_release(octavo_packed* weight) { release(weight); }
