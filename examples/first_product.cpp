// SPDX-License-Identifier: Apache-2.0
// The README's example: quantise, multiply, ask why.
#include <cstdio>
#include <vector>

#include "octavo/octavo.hpp"

int main() {
  const std::vector<float> x{0.5F, -1.0F, 2.0F, 0.25F, 1.0F, -0.5F};  // [2, 3]
  const std::vector<float> w{1.0F, 2.0F, -1.0F, 0.5F, 0.0F, 3.0F,
                             1.5F, 1.0F, 1.0F,  2.0F, 2.0F, -2.0F};
  const auto weight = octavo::view(w, {4, 3}).transposed();  // stored as [N, K]

  const octavo::Quantized a = octavo::quantize(octavo::view(x, {2, 3}));  // int8, per token
  const octavo::Quantized b = octavo::quantize(
      weight,
      {.granularity = octavo::per_channel(), .side = octavo::Side::b});  // int8, per channel
  const octavo::Tensor y =
      octavo::scaled_mm(a, b, {.out_dtype = octavo::float32});  // carried scales

  for (int i = 0; i < 8; ++i) std::printf("%8.3f%s", y.data_as<float>()[i], i % 4 == 3 ? "\n" : "");
  std::printf("%s", octavo::explain(octavo::scaled_mm_problem(a, b)).to_string().c_str());
}
