// SPDX-License-Identifier: Apache-2.0
// Quantisers.
#include "octavo/quantize.hpp"

#include "capi/operations/products.hpp"
#include "capi/options.hpp"
#include "octavo/rotate.hpp"

using namespace octavo::capi;
using octavo::DType;
using octavo::Side;

octavo_code octavo_quantize(const octavo_view* x, const octavo_quantize_options* options,
                            const octavo_context* context, octavo_quantized** result) {
  return guarded("quantize", [&] {
    Slot slot({"quantize", "result"}, result);
    const Context run_on("quantize", context);
    slot.fill(octavo::quantize(view_from({"quantize", "x"}, x),
                               options_from({"quantize", "options"}, options), run_on));
  });
}

octavo_code octavo_quantize_into(const octavo_view* x, const octavo_quantize_options* options,
                                 const octavo_quantized* out, const char* backend,
                                 const octavo_context* context) {
  return guarded("quantize", [&] {
    const Context run_on("quantize", context);
    octavo::quantize_into(view_from({"quantize", "x"}, x),
                          options_from({"quantize", "options"}, options),
                          value_of({"quantize", "out"}, out), run_on, backend);
  });
}

octavo_code octavo_rotate(const octavo_view* x, const octavo_rotate_options* options,
                          const octavo_context* context, octavo_tensor** result) {
  return guarded("rotate", [&] {
    const octavo::RotateOptions o = options_from({"rotate", "options"}, options);
    Slot slot({"rotate", "result"}, result, result_optional(o.out));
    const Context run_on("rotate", context);
    slot.fill(octavo::rotate(view_from({"rotate", "x"}, x), o, run_on));
  });
}

octavo_code octavo_quantize_mxfp8(const octavo_view* x, octavo_dtype dtype, int32_t side,
                                  const octavo_context* context, octavo_quantized** result) {
  constexpr const char* kName = "quantize_mxfp8";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::quantize_mxfp8(view_from({kName, "x"}, x),
                                     dtype_or({kName, "dtype"}, dtype, DType::float8_e4m3fn),
                                     enum_from({kName, "side"}, side, Side::b), run_on));
  });
}

octavo_code octavo_compute_scale(const octavo_view* x, const octavo_quantize_options* options,
                                 const octavo_context* context, octavo_quantized** result) {
  constexpr const char* kName = "compute_scale";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::compute_scale(view_from({kName, "x"}, x),
                                    options_from({kName, "options"}, options), run_on));
  });
}

octavo_code octavo_dequantize(const octavo_quantized* q, octavo_dtype out_dtype,
                              const octavo_context* context, octavo_tensor** result) {
  constexpr const char* kName = "dequantize";
  return guarded(kName, [&] {
    Slot slot({kName, "result"}, result);
    const Context run_on(kName, context);
    slot.fill(octavo::dequantize(value_of({kName, "q"}, q),
                                 dtype_or({kName, "out_dtype"}, out_dtype, DType::float32),
                                 run_on));
  });
}
