// SPDX-License-Identifier: Apache-2.0
// What lies between products.
#include "octavo/norm.hpp"
#include "capi/options.hpp"

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
