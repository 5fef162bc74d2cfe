// SPDX-License-Identifier: Apache-2.0
// Quantisers.
#include "capi/quantize.hpp"

using namespace octavo::capi;
using octavo::DType;
using octavo::Side;

octavo::QuantizeOptions octavo::capi::quantize_options(const Place& place,
                                                       const octavo_quantize_options* given) {
  const octavo_quantize_options c = read_struct(place, given);
  check_flags(place, c.flags, kQuantizeFlags);
  QuantizeOptions o;
  o.dtype = dtype_or(place.of("dtype"), c.dtype, o.dtype);
  o.scale_dtype = dtype_or(place.of("scale_dtype"), c.scale_dtype, o.scale_dtype);
  if (c.granularity != OCTAVO_AUTOMATIC) {
    o.granularity = granularity_from(place.of("granularity"), c.granularity, c.rows, c.cols);
  }
  o.side = enum_from(place.of("side"), c.side, Side::b);
  o.azp = (c.flags & OCTAVO_AZP) != 0;
  o.widen = (c.flags & OCTAVO_WIDEN) != 0;
  if (c.scale_ub != 0.0F) o.scale_ub = c.scale_ub;
  o.min_scale = c.min_scale;
  o.qmax = static_cast<float>(c.qmax);
  o.rounding = enum_from(place.of("rounding"), c.rounding, ScaleRounding::mx_floor);
  o.non_finite = non_finite_from(place, c.flags);
  o.overflow = overflow_from(c.flags);
  o.scale = scale_from(place.of("scale"), c.scale);
  o.azp_in = optional_view(place.of("azp_in"), c.azp_in);
  return o;
}

octavo_code octavo_quantize(const octavo_view* x, const octavo_quantize_options* options,
                            const octavo_context* context, octavo_quantized** result) {
  return guarded("quantize", [&] {
    Slot slot({"quantize", "result"}, result);
    const Context run_on("quantize", context);
    slot.fill(octavo::quantize(view_from({"quantize", "x"}, x),
                               quantize_options({"quantize", "options"}, options), run_on));
  });
}

octavo_code octavo_quantize_into(const octavo_view* x, const octavo_quantize_options* options,
                                 const octavo_quantized* out, const char* backend,
                                 const octavo_context* context) {
  return guarded("quantize", [&] {
    const Context run_on("quantize", context);
    octavo::quantize_into(view_from({"quantize", "x"}, x),
                          quantize_options({"quantize", "options"}, options),
                          value_of({"quantize", "out"}, out), run_on, backend);
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
                                    quantize_options({kName, "options"}, options), run_on));
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
