// SPDX-License-Identifier: Apache-2.0
// What rms_norm, alone and with a quantiser, and teams of threads refuse.
#include "errors.hpp"

namespace octavo::test {

std::vector<ErrorRow> norm_errors() {
  const TensorView x = ones(bfloat16, {2, 2, 8});
  const TensorView apart = ones(bfloat16, {2, 4, 8}).slice(1, 0, 2);
  return {
      {"NormType", kInvalid, "rms_norm: x.dtype must be float32, bfloat16 or float16; got int8",
       [] {
         (void)rms_norm(ones(int8, {2, 8}));
       }},
      {"NormRank", kInvalid, "rms_norm: x.shape must be [..., C]; got []",
       [] { (void)rms_norm(ones(float32, {})); }},
      {"NormWeightShape", kInvalid, "rms_norm: weight.shape must be [8]; got [7]",
       [=] { (void)rms_norm(x, {.weight = ones(float32, {7})}); }},
      {"NormWeightType", kInvalid,
       "rms_norm: weight.dtype must be x's (bfloat16) or float32; got float16",
       [=] { (void)rms_norm(x, {.weight = ones(float16, {8})}); }},
      {"NormEpsilon", kInvalid, "rms_norm: epsilon must be at least 0; got -1",
       [=] { (void)rms_norm(x, {.epsilon = -1.0F}); }},
      {"NormResidual", kInvalid,
       "rms_norm: residual must be bfloat16 [2, 2, 8], as x; got float32 [2, 2, 8]",
       [=] {
         (void)rms_norm(x, {.residual = ones(float32, {2, 2, 8})});
       }},
      {"NormResidualShape", kInvalid,
       "rms_norm: residual must be bfloat16 [2, 2, 8], as x; got float32 [7]",
       [=] { (void)rms_norm(x, {.residual = ones(float32, {7})}); }},
      {"NormResidualStrides", kInvalid,
       "rms_norm: residual.strides must be those of rows, as it is written; got [2, 2, 8]",
       [=] { (void)rms_norm(x, {.residual = apart}); }},
      {"NormResidualIsX", kInvalid, "rms_norm: residual must not overlap x; got shared memory",
       [=] { (void)rms_norm(x, {.residual = x}); }},
      {"NormOutIsX", kInvalid, "rms_norm: out must not overlap x; got shared memory",
       [=] { (void)rms_norm(x, {.out = x}); }},
      {"NormQuantizeWeight", kInvalid, "rms_norm_quantize: weight.shape must be [8]; got [7]",
       [=] { (void)rms_norm_quantize(x, {.weight = ones(float32, {7})}); }},
      {"NormQuantizeNonFinite", kInvalid,
       "rms_norm_quantize: non_finite must be propagate or ignore, as rows are quantised before "
       "the last is made; got error",
       [=] { (void)rms_norm_quantize(x, {.quantize = {.non_finite = NonFinite::error}}); }},
      {"NormQuantizeGranularity", kInvalid,
       "rms_norm_quantize: granularity must be declared; got automatic",
       [=] { (void)rms_norm_quantize(x, {.quantize = {.granularity = {}}}); }},
      {"SiluQuantizeOdd", kInvalid,
       "silu_and_mul_quantize: x.shape must be [..., 2 I] (gate, then up); got [2, 5]",
       [] {
         (void)silu_and_mul_quantize(ones(float32, {2, 5}));
       }},
      {"SiluQuantizeZeroPoint", kInvalid,
       "silu_and_mul_quantize: azp_in must come with azp and a static scale; got less",
       [=] { (void)silu_and_mul_quantize(x, {.quantize = {.azp_in = ones(int32, {1})}}); }},
      {"TeamOfNone", kInvalid, "thread_team: threads must be in [1, 512]; got 0",
       [] { const ThreadTeam team(0); }},
  };
}

}  // namespace octavo::test
