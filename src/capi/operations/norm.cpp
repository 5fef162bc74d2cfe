// SPDX-License-Identifier: Apache-2.0
// What lies between products.
#include "octavo/norm.hpp"
#include "capi/operations/products.hpp"
#include "capi/options.hpp"
#include "octavo/moe.hpp"

using namespace octavo::capi;

octavo_code octavo_rms_norm(const octavo_view* x, const octavo_rms_norm_options* options,
                            const octavo_context* context, octavo_tensor** result) {
  return guarded("rms_norm", [&] {
    const octavo::RmsNormOptions o = options_from({"rms_norm", "options"}, options);
    Slot slot({"rms_norm", "result"}, result, result_optional(o.out));
    const Context run_on("rms_norm", context);
    slot.fill(octavo::rms_norm(view_from({"rms_norm", "x"}, x), o, run_on));
  });
}

octavo_code octavo_rms_norm_quantize(const octavo_view* x,
                                     const octavo_rms_norm_quantize_options* options,
                                     const octavo_context* context, octavo_quantized** result) {
  constexpr const char* kName = "rms_norm_quantize";
  return guarded(kName, [&] {
    const octavo::RmsNormQuantizeOptions o = options_from({kName, "options"}, options);
    Slot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::rms_norm_quantize(view_from({kName, "x"}, x), o, run_on));
  });
}

octavo_code octavo_silu_and_mul_quantize(const octavo_view* x,
                                         const octavo_silu_and_mul_quantize_options* options,
                                         const octavo_context* context, octavo_quantized** result) {
  constexpr const char* kName = "silu_and_mul_quantize";
  return guarded(kName, [&] {
    const octavo::SiluAndMulQuantizeOptions o = options_from({kName, "options"}, options);
    Slot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::silu_and_mul_quantize(view_from({kName, "x"}, x), o, run_on));
  });
}
