// SPDX-License-Identifier: Apache-2.0
// A layer of a file, by octavo::models.
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <octavo/octavo.hpp>
#include <vector>

int main() {
  const std::string file = std::filesystem::temp_directory_path() / "octavo_consumer.safetensors";
  octavo::write_safetensors(file, {{"up.weight", "F32", {2, 2}, [] {
                                      const float values[] = {1.0F, -2.0F, 3.0F, 4.0F};
                                      std::vector<std::byte> bytes(sizeof values);
                                      std::memcpy(bytes.data(), values, sizeof values);
                                      return bytes;
                                    }}});
  const std::array<std::string, 1> names{"up"};
  const octavo::QuantizedLinear layer = octavo::load_linear(octavo::open_checkpoint(file), names);
  const std::vector<float> x{1.0F, 1.0F};
  const octavo::Tensor y = layer(octavo::view(x, {1, 2}));
  std::filesystem::remove(file);
  return y.data_as<float>()[0] == -1.0F && y.data_as<float>()[1] == 7.0F ? 0 : 1;
}
