// SPDX-License-Identifier: Apache-2.0
// One product over the installed headers and library; every result of it is a short number.
#include <cstdio>
#include <octavo/octavo.hpp>
#include <vector>

int main() {
  const std::vector<float> x{127.0F, -64.0F, 2.0F, 1.0F, 127.0F, 0.0F};  // [2, 3], scales 1
  const std::vector<float> w{127.0F, 1.0F, 0.0F, 3.0F, 0.0F, 127.0F};    // [2, 3], stored as [N, K]

  const octavo::Quantized a = octavo::quantize(octavo::view(x, {2, 3}));
  const octavo::Quantized b =
      octavo::quantize(octavo::view(w, {2, 3}).transposed(),
                       {.granularity = octavo::per_channel(), .side = octavo::Side::b});
  const octavo::Tensor y = octavo::scaled_mm(a, b, {.out_dtype = octavo::float32});

  const double want[] = {16065, 635, 254, 3};
  for (int i = 0; i < 4; ++i) {
    const double got = y.data_as<float>()[i];
    if (got == want[i]) continue;
    std::fprintf(stderr, "y[%d] must be %g; got %g\n", i, want[i], got);
    return 1;
  }
  if (octavo::explain(octavo::scaled_mm_problem(a, b)).to_string().empty()) return 1;
  try {
    (void)octavo::scaled_mm(a, a);
  } catch (const octavo::Error& error) {  // thrown in the library, caught here
    return error.code() == octavo::Code::invalid_argument ? 0 : 1;
  }
  return 1;
}
