// SPDX-License-Identifier: Apache-2.0
// The table of passes: those with vector kernels, those of any host.
#include "backends/cpu/passes.hpp"

#include "backends/cpu/finish/finish.hpp"
#include "backends/cpu/passes/passes.hpp"
#include "backends/host/passes.hpp"

namespace octavo::cpu {

constinit const Passes kPasses{
    .convert = &convert,
    .fill = &host::fill,
    .gather = &host::gather,
    .map_codes = &host::map_codes,
    .unswizzle = &host::unswizzle,
    .check_finite = &host::check_finite,
    .quantize = &quantize,
    .code_errors = &code_errors,
    .vectorwise = &vectorwise,
    .quantize_activations = &host::quantize_activations<kPasses>,
    .rescale = &rescale,
    .reduce = &reduce,
    .mask = &host::mask,
    .learned_step = &host::learned_step,
    .dequantize_sums = &host::dequantize_sums,
    .split_zero_points = &host::split_zero_points,
    .split_sums = &host::split_sums,
    .silu_and_mul = &silu_and_mul,
    .rms_norm = &rms_norm,
    .rotate = &rotate,
    .quantize_rows = &host::quantize_rows<kPasses>,
    .attention_scratch = &attention_scratch,
    .attention = &attention,
    .silu_and_mul_vjp = &silu_and_mul_vjp,
    .combine = &combine,
    .activate = &host::activate<kPasses>,
    .finish = &finish,
};

}  // namespace octavo::cpu
