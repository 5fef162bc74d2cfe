// SPDX-License-Identifier: Apache-2.0
// A DeepSeek-style layer: fp8 weights with a scale for every 128 x 128 block, activations with one
// for every 128 of K.
#include <cmath>
#include <cstdint>
#include <iostream>
#include <vector>

#include "octavo/octavo.hpp"

int main() {
  // [GUIDE]
  using namespace octavo;
  constexpr std::int64_t kM = 4, kN = 256, kK = 512;

  // What a checkpoint holds: codes of one byte [N, K], and float32 scales [N / 128, K / 128].
  const std::vector<std::uint8_t> codes(kN * kK, 0x38);  // 0x38 is 1.0 in e4m3fn
  const std::vector<float> scales(kN / 128 * kK / 128, 0.5F);

  const TensorView stored(codes.data(), float8_e4m3fn, {kN, kK});
  const Scale scale(view(scales, {kN / 128, kK / 128}).transposed(), block(128, 128));
  const PackedWeight weight = pack(stored.transposed(), {.scale = scale});  // once

  const std::vector<float> x(kM * kK, 2.0F);
  const Quantized a =
      quantize(view(x, {kM, kK}), {.dtype = float8_e4m3fn, .granularity = group(128)});
  const Tensor y = scaled_mm(a, weight, {.out_dtype = bfloat16});  // [M, N]

  const Tensor floats = y.to(float32);
  std::cout << floats.data_as<float>()[0] << '\n';  // 512 * 2 * 1 * 0.5 = 512
  // [/GUIDE]
  return std::abs(floats.data_as<float>()[0] - 512.0F) < 1.0F ? 0 : 1;
}
