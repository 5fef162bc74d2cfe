// SPDX-License-Identifier: Apache-2.0
// Rows over their root mean square.
#include <string>
#include <utility>

#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/norm.hpp"
#include "ops/product/lower.hpp"
#include "ops/quantize/quantized_rows.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kRmsNorm = "rms_norm";
constexpr const char* kRmsNormQuantize = "rms_norm_quantize";

// A norm of rows, but for its output.
struct NormRows {
  RmsNormProblem problem;
  FlatRows rows;  // x as the problem reads it
};

Status check_weight(const Site& site, const TensorView& x, const TensorView& weight) noexcept {
  const std::int64_t columns = x.shape[static_cast<std::size_t>(x.rank - 1)];
  if (weight.rank != 1 || weight.shape[0] != columns) {
    return fail(Code::invalid_argument, "{}: weight.shape must be [{}]; got {}", site.operation,
                columns, shape_string(weight));
  }
  if (weight.dtype != x.dtype && weight.dtype != DType::float32) {
    return fail(Code::invalid_argument, "{}: weight.dtype must be x's ({}) or float32; got {}",
                site.operation, name(x.dtype), name(weight.dtype));
  }
  return {};
}

// The residual as a matrix in its own memory: it is written.
Result<MatrixView> residual_of(const Site& site, const TensorView& x, const TensorView& residual,
                               const ExecContext& context) {
  if (residual.dtype != x.dtype || shape_string(residual) != shape_string(x)) {
    return fail(Code::invalid_argument, "{}: residual must be {} {}, as x; got {} {}",
                site.operation, name(x.dtype), shape_string(x), name(residual.dtype),
                shape_string(residual));
  }
  if (overlap(residual, x)) {
    return fail(Code::invalid_argument, "{}: residual must not overlap x; got shared memory",
                site.operation);
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(site.operation, residual, context));
  if (rows.copy.defined()) {
    return fail(Code::invalid_argument,
                "{}: residual.strides must be those of rows, as it is written; got {}",
                site.operation, shape_string(residual));
  }
  return MatrixView(rows.view);
}

Result<NormRows> norm_rows(const Site& site, const TensorView& x, const TensorView& weight,
                           float epsilon, const TensorView& residual, const ExecContext& context) {
  OCTAVO_TRY(check_device(site.operation, context));
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (x.rank < 1) {
    return fail(Code::invalid_argument, "{}: x.shape must be [..., C]; got []", site.operation);
  }
  if (!(epsilon >= 0.0F)) {
    return fail(Code::invalid_argument, "{}: epsilon must be at least 0; got {}", site.operation,
                epsilon);
  }
  for (const auto& [other, name] : {std::pair{weight, "weight"}, {residual, "residual"}}) {
    if (other.defined()) {
      OCTAVO_TRY(
          check_device_of(std::string(site.operation) + ": " + name, other.device, "x", x.device));
    }
  }
  NormRows norm;
  norm.problem.epsilon = epsilon;
  if (weight.defined()) {
    OCTAVO_TRY(check_weight(site, x, weight));
    norm.problem.weight = MatrixView(weight);
  }
  if (residual.defined()) {
    OCTAVO_TRY_ASSIGN(norm.problem.residual, residual_of(site, x, residual, context));
  }
  OCTAVO_TRY_ASSIGN(norm.rows, flatten_rows(site.operation, x, context));
  norm.problem.x = norm.rows.view;
  return norm;
}

Result<Tensor> run_norm(const TensorView& x, const RmsNormOptions& o, const ExecContext& context) {
  const Site site{kRmsNorm, &kLinearNames};
  OCTAVO_TRY_ASSIGN(NormRows norm, norm_rows(site, x, o.weight, o.epsilon, o.residual, context));
  const std::int64_t last = x.shape[static_cast<std::size_t>(x.rank - 1)];
  OCTAVO_TRY_ASSIGN(const FlatOut out, flatten_out(site, x, last, x.dtype, o.out, context));
  for (const auto& [other, name] : {std::pair{x, "x"}, {o.residual, "residual"}}) {
    if (o.out.defined() && other.defined() && overlap(o.out, other)) {
      return fail(Code::invalid_argument, "rms_norm: out must not overlap {}; got shared memory",
                  name);
    }
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kRmsNorm, x.device, o.backend));
  if (backend->passes.rms_norm == nullptr) {
    return fail(Code::unavailable, "rms_norm: x.device must be the CPU; got {}",
                device_string(x.device));
  }
  norm.problem.out = out.rows.view;
  OCTAVO_TRY(backend->passes.rms_norm(norm.problem, context));
  OCTAVO_TRY(out.finish(kRmsNorm, context));
  return out.tensor;
}

Result<Quantized> run_norm_quantize(const TensorView& x, const RmsNormQuantizeOptions& o,
                                    const ExecContext& context) {
  const Site site{kRmsNormQuantize, &kQuantizeNames};
  OCTAVO_TRY_ASSIGN(const NormRows norm,
                    norm_rows(site, x, o.weight, o.epsilon, o.residual, context));
  QuantizeRowsProblem problem;
  problem.norm = norm.problem;
  return quantized_rows(site, problem, norm.problem.x, norm.problem.x.shape[1], o.quantize,
                        o.backend, context);
}

}  // namespace

Tensor rms_norm(const TensorView& x, const RmsNormOptions& options, const ExecContext& context) {
  return at_edge(kRmsNorm, [&] { return run_norm(x, options, context); });
}

Quantized rms_norm_quantize(const TensorView& x, const RmsNormQuantizeOptions& options,
                            const ExecContext& context) {
  return at_edge(kRmsNormQuantize, [&] { return run_norm_quantize(x, options, context); });
}

}  // namespace octavo
