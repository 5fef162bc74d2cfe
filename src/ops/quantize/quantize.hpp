// SPDX-License-Identifier: Apache-2.0
// What quantise, dequantise and their gradients share.
#pragma once

#include "backends/passes.hpp"
#include "octavo/quantize.hpp"
#include "ops/rules.hpp"

namespace octavo {

Status check_quantize(const Site& site, const TensorView& x, const QuantizeOptions& options);

/// The static scale of `options` over x.
Result<CarriedScale> static_scale(const Site& site, const TensorView& x,
                                  const QuantizeOptions& options);

/// Own copies of the static scales and zero points in their natural shape.
Status take_static(const Site& site, const TensorView& x, const QuantizeOptions& options,
                   const ExecContext& context, Quantized& q);

/// What `quantize` of x with these options fills, checked and allocated; no element of x is read.
struct Quantizing {
  Quantized result;
  QuantizeProblem problem;
};
Result<Quantizing> begin_quantize(const Site& site, const TensorView& x,
                                  const QuantizeOptions& options, bool codes,
                                  const ExecContext& context);

/// Callers build a Quantized by hand, from files for example.
Status check_dequantize(const Site& site, const Quantized& q);

/// Are a row's elements neighbours?
inline bool has_rows(const TensorView& v) {
  return v.rank == 2 && (v.strides[1] == 1 || v.shape[1] <= 1);
}

/// What code_errors gives.
Result<CodeErrors> try_code_errors(const TensorView& values, const Quantized& quantized,
                                   const ExecContext& context);

}  // namespace octavo
