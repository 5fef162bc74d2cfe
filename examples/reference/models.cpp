// SPDX-License-Identifier: Apache-2.0
// The reference's examples of models: of octavo::models, which reads and writes files.
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "check.hpp"
#include "octavo/octavo.hpp"

using namespace octavo;

namespace {

std::vector<std::byte> bytes_of(const std::vector<float>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

void weights() {
  const std::vector<float> w{1, 2, 3, 4, 5, 6, 7, 127};  // [N, K] = [2, 4]
  const std::vector<float> x{1, 0, 0, 1};
  {
    // [octavo::quantize_weight]
    const Weight weight = quantize_weight(view(w, {2, 4}), Scheme::int8_dynamic);
    CHECK(weight.scheme == "int8-dynamic" && weight.codes.data.dtype() == int8);
    // [/octavo::quantize_weight]
    // [octavo::compare_weight]
    const LayerReport report = compare_weight("proj", view(w, {2, 4}), weight);
    CHECK(report.n == 2 && report.k == 4 && report.sqnr_db > 40);
    // [/octavo::compare_weight]
    // [octavo::QuantizedLinear]
    const QuantizedLinear layer(weight);
    const Tensor y = layer(view(x, {1, 4}));  // float32 [1, N]
    CHECK(layer.out_features() == 2 && y.data_as<float>()[1] == 132.0F);
    // [/octavo::QuantizedLinear]
  }
}

void files(const std::string& folder) {
  const std::string in = folder + "/model.safetensors", out = folder + "/int8.safetensors",
                    back = folder + "/float.safetensors";
  const std::vector<float> w(32 * 64, 0.5F);
  {
    // [octavo::write_safetensors]
    write_safetensors(
        in, {{"model.layers.0.mlp.up_proj.weight", "F32", {32, 64}, [&] { return bytes_of(w); }}});
    // [/octavo::write_safetensors]
  }
  {
    // [octavo::quantize_file]
    const QuantizeReport report =
        quantize_file(in, out, {.scheme = Scheme::int8_dynamic, .guess = true});
    CHECK(report.layers.size() == 1 && report.file_bytes_after < report.file_bytes_before);
    // [/octavo::quantize_file]
  }
  {
    // [octavo::open_checkpoint]
    const Checkpoint model = open_checkpoint(out);
    CHECK(model.contains("model.layers.0.mlp.up_proj.weight"));
    CHECK(model.entries().front().shape.size() == 2);
    // [/octavo::open_checkpoint]
    // [octavo::load_linear]
    const std::vector<std::string> names{"model.layers.0.mlp.up_proj"};
    const QuantizedLinear layer = load_linear(model, names);
    const std::vector<float> x(64, 1.0F);
    CHECK(layer(view(x, {1, 64})).data_as<float>()[0] == 32.0F);
    // [/octavo::load_linear]
  }
  {
    // [octavo::dequantize_file]
    const QuantizeReport report = dequantize_file(out, back, {.dtype = float32});
    CHECK(report.file_bytes_after > report.file_bytes_before);
    // [/octavo::dequantize_file]
  }
}

}  // namespace

int main() {
  weights();
  const auto folder = std::filesystem::temp_directory_path() / "octavo_reference_examples";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  files(folder.string());
  std::filesystem::remove_all(folder);
  return 0;
}
