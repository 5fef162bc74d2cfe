// SPDX-License-Identifier: Apache-2.0
// Layers of a checkpoint, fused and packed.
#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "octavo/checkpoint.hpp"
#include "octavo/checkpoint/linear_layers.hpp"
#include "octavo/layers.hpp"

namespace octavo {
namespace {

void check_linear(const Checkpoint& file, const std::string& prefix) {
  if (!is_embedding(file, prefix)) return;
  throw_status(fail(Code::invalid_argument,
                    "load_linear: prefixes must name linear layers; got '{}', a table (Embedding)",
                    prefix));
}

// The biases of fused layers, one after the other; undefined where none has one.
Tensor stacked_bias(const Checkpoint& file, std::span<const std::string> prefixes) {
  std::vector<Tensor> biases;
  std::int64_t n = 0;
  for (const std::string& prefix : prefixes) {
    const std::string name = prefix + ".bias";
    if (!file.contains(name)) continue;
    biases.push_back(file.tensor(name));
    n += biases.back().numel();
  }
  if (biases.empty()) return {};
  return at_edge("load_linear", [&]() -> Result<Tensor> {
    if (biases.size() != prefixes.size()) {
      return fail(Code::invalid_argument,
                  "load_linear: prefixes must all have a bias or all have none; got {} of {}",
                  biases.size(), prefixes.size());
    }
    if (biases.size() == 1) return biases[0];
    const Tensor all = Tensor::empty(DType::float32, {n});
    float* to = all.data_as<float>();
    for (const Tensor& bias : biases) {
      const Tensor wide = copy(bias, DType::float32);
      to = std::copy_n(wide.data_as<float>(), wide.numel(), to);
    }
    return all;
  });
}

}  // namespace

QuantizedLinear load_linear(const Checkpoint& file, std::span<const std::string> prefixes,
                            const char* backend) {
  std::vector<Weight> weights;
  for (const std::string& prefix : prefixes) {
    check_linear(file, prefix);
    weights.push_back(file.weight(prefix));
  }
  return QuantizedLinear(fuse(weights), stacked_bias(file, prefixes), backend);
}

}  // namespace octavo
