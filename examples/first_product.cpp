// SPDX-License-Identifier: Apache-2.0
// The README's example as a program: a test compares the two.
#include <iostream>
#include <vector>

#include "octavo/octavo.hpp"

int main() {
  // [README]
  const std::vector<float> x(2 * 64, 0.5F), w(32 * 64, -0.25F), bias(32, 1.0F);
  const auto input = octavo::view(x, {2, 64});                 // [M, K]
  const auto weight = octavo::view(w, {32, 64}).transposed();  // [K, N], stored as [N, K]

  const octavo::Quantized a = octavo::quantize(input);  // int8, one scale per row
  const octavo::Quantized b =
      octavo::quantize(weight, {.granularity = octavo::per_channel(), .side = octavo::Side::b});
  const octavo::Tensor y = octavo::scaled_mm(  // a and b carry their scales
      a, b, {.bias = octavo::view(bias, {32}), .out_dtype = octavo::float32});

  std::cout << octavo::explain(octavo::scaled_mm_problem(a, b)).to_string();
  std::cout << "y[0, 0] = " << y.data_as<float>()[0] << '\n';  // 1 - 64 * 0.5 * 0.25 = -7
  // [/README]
  return y.data_as<float>()[0] == -7.0F ? 0 : 1;
}
