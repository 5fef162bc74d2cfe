// SPDX-License-Identifier: Apache-2.0
// Layers over packed weights.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "octavo/checkpoint/linear_layers.hpp"
#include "octavo/layers.hpp"
#include "octavo/matmul.hpp"

namespace octavo {
namespace {

Tensor checked_bias(const TensorView& bias, std::int64_t n) {
  return at_edge("QuantizedLinear", [&]() -> Result<Tensor> {
    if (!bias.defined()) return Tensor();
    const bool fits = bias.rank == 1 && bias.shape[0] == n;
    if (fits && is_wide(bias.dtype)) return copy(bias, bias.dtype);
    return fail(Code::invalid_argument,
                "QuantizedLinear: bias must be float32, bfloat16 or float16 [{}]; got {} {}", n,
                name(bias.dtype), shape_string(bias));
  });
}

const Weight& of_scheme(const char* layer, const char* scheme, const Weight& weight) {
  if (weight.scheme == scheme) return weight;
  throw_status(fail(Code::invalid_argument, "{}: weight.scheme must be {}; got {}", layer, scheme,
                    weight.scheme));
}

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

QuantizedLinear::QuantizedLinear(const Weight& weight, const TensorView& bias, const char* backend)
    : weight_(pack(weight, backend)),
      bias_(checked_bias(bias, weight_.n())),
      scheme_(weight.scheme) {}

Tensor QuantizedLinear::operator()(const TensorView& x, const LinearOptions& options,
                                   const ExecContext& context) const {
  LinearOptions o = options;
  if (!o.bias.defined()) o.bias = bias_.view();
  return linear(x, weight_, o, context);
}

Tensor QuantizedLinear::operator()(const Quantized& x, const LinearOptions& options,
                                   const ExecContext& context) const {
  return scaled_mm(x, weight_,
                   {.bias = options.bias.defined() ? options.bias : bias_.view(),
                    .out_dtype = options.out_dtype,
                    .out = options.out,
                    .matmul = options.matmul,
                    .backend = options.backend},
                   context);
}

Fp8Linear::Fp8Linear(const LinearTensors& tensors, const W8A8Options& options)
    : QuantizedLinear(w8a8_weight("fp8-dynamic", tensors, options), tensors.bias, options.backend) {
}
Fp8Linear::Fp8Linear(const Weight& weight, const TensorView& bias, const char* backend)
    : QuantizedLinear(of_scheme("Fp8Linear", "fp8-dynamic", weight), bias, backend) {}

Int8Linear::Int8Linear(const LinearTensors& tensors, const W8A8Options& options)
    : QuantizedLinear(w8a8_weight("int8-dynamic", tensors, options), tensors.bias,
                      options.backend) {}
Int8Linear::Int8Linear(const Weight& weight, const TensorView& bias, const char* backend)
    : QuantizedLinear(of_scheme("Int8Linear", "int8-dynamic", weight), bias, backend) {}

BlockFp8Linear::BlockFp8Linear(const LinearTensors& tensors, const W8A8Options& options)
    : QuantizedLinear(w8a8_weight("fp8-block", tensors, options), tensors.bias, options.backend) {}
BlockFp8Linear::BlockFp8Linear(const Weight& weight, const TensorView& bias, const char* backend)
    : QuantizedLinear(of_scheme("BlockFp8Linear", "fp8-block", weight), bias, backend) {}

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
