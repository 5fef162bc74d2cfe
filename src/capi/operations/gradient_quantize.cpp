// SPDX-License-Identifier: Apache-2.0
// Gradients of quantisers.
#include "capi/operations/gradient.hpp"
#include "capi/options.hpp"

using namespace octavo::capi;
using octavo::DequantizeGradients;
using octavo::DequantizeWanted;
using octavo::QuantizeGradients;
using octavo::QuantizeWanted;

namespace {

constexpr GradientParts<octavo_quantize_gradients, QuantizeGradients, QuantizeWanted, 2> kQuantize{{
    {{OCTAVO_WANT_X, "X"},
     &octavo_quantize_gradients::x,
     &QuantizeGradients::x,
     &QuantizeWanted::x},
    {{OCTAVO_WANT_SCALE, "SCALE"},
     &octavo_quantize_gradients::scale,
     &QuantizeGradients::scale,
     &QuantizeWanted::scale},
}};

constexpr GradientParts<octavo_dequantize_gradients, DequantizeGradients, DequantizeWanted, 3>
    kDequantize{{
        {{OCTAVO_WANT_DATA, "DATA"},
         &octavo_dequantize_gradients::data,
         &DequantizeGradients::data,
         &DequantizeWanted::data},
        {{OCTAVO_WANT_SCALE, "SCALE"},
         &octavo_dequantize_gradients::scale,
         &DequantizeGradients::scale,
         &DequantizeWanted::scale},
        {{OCTAVO_WANT_AZP, "AZP"},
         &octavo_dequantize_gradients::azp,
         &DequantizeGradients::azp,
         &DequantizeWanted::azp},
    }};

}  // namespace

octavo_code octavo_quantize_vjp(const octavo_view* grad, const octavo_view* x,
                                const octavo_quantize_options* forward,
                                const octavo_quantize_vjp_options* options,
                                const octavo_context* context, octavo_quantize_gradients* result) {
  constexpr const char* kName = "quantize_vjp";
  return guarded(kName, [&] {
    GradientSlots slots({kName, "result"}, kQuantize, result);
    const ArgumentPath place{kName, "options"};
    const octavo_quantize_vjp_options c = read_struct(place, options);
    const QuantizeWanted wanted = wanted_from(place, kQuantize, c.wanted);
    slots.prepare({kName, "result"}, wanted);
    const Context run_on(kName, context);
    slots.fill(octavo::quantize_vjp(view_from({kName, "grad"}, grad), view_from({kName, "x"}, x),
                                    options_from({kName, "forward"}, forward), wanted,
                                    c.gradient_scale != 0.0F ? c.gradient_scale : 1.0F, run_on));
  });
}

octavo_code octavo_dequantize_vjp(const octavo_view* grad, const octavo_quantized* q,
                                  const octavo_dequantize_vjp_options* options,
                                  const octavo_context* context,
                                  octavo_dequantize_gradients* result) {
  constexpr const char* kName = "dequantize_vjp";
  return guarded(kName, [&] {
    GradientSlots slots({kName, "result"}, kDequantize, result);
    const ArgumentPath place{kName, "options"};
    const octavo_dequantize_vjp_options c = read_struct(place, options);
    const DequantizeWanted wanted = wanted_from(place, kDequantize, c.wanted);
    slots.prepare({kName, "result"}, wanted);
    const Context run_on(kName, context);
    slots.fill(octavo::dequantize_vjp(view_from({kName, "grad"}, grad), value_of({kName, "q"}, q),
                                      wanted, run_on));
  });
}
