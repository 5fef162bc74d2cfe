// SPDX-License-Identifier: Apache-2.0
// Attention over keys and values in 8 bits.
#include "octavo/attention.hpp"

#include "capi/operations/products.hpp"
#include "capi/options.hpp"

using namespace octavo::capi;

octavo_code octavo_attention(const octavo_view* q, const octavo_view* keys,
                             const octavo_view* key_scales, const octavo_view* values,
                             const octavo_view* value_scales,
                             const octavo_attention_options* options, const octavo_context* context,
                             octavo_tensor** result) {
  return guarded("attention", [&] {
    const octavo::AttentionOptions o = options_from({"attention", "options"}, options);
    Slot slot({"attention", "result"}, result, result_optional(o.out));
    const Context run_on("attention", context);
    slot.fill(octavo::attention(view_from({"attention", "q"}, q),
                                view_from({"attention", "keys"}, keys),
                                view_from({"attention", "key_scales"}, key_scales),
                                view_from({"attention", "values"}, values),
                                view_from({"attention", "value_scales"}, value_scales), o, run_on));
  });
}
