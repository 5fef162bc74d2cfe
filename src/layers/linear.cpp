// SPDX-License-Identifier: Apache-2.0
// Layers over packed weights.
#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.hpp"
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

}  // namespace octavo
