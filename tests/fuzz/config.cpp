// SPDX-License-Identifier: Apache-2.0
// Quantisation configurations: any text, asked of a layer with an input's own name and of another.
#include <cstdint>
#include <string>
#include <string_view>

#include "checkpoint/declared/quantization_config.hpp"

// The first line is a layer's name, the rest the configuration.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\n');
  if (end == std::string_view::npos) return 0;
  try {
    const octavo::checkpoint::QuantizationConfig config{std::string(input.substr(end + 1))};
    (void)config.layer("model.layers.0.mlp.gate_proj");
    (void)config.layer(input.substr(0, end));
  } catch (const octavo::Error&) {  // the promised way to say no
  }
  return 0;
}
