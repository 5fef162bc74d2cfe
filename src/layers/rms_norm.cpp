// SPDX-License-Identifier: Apache-2.0
// Rows over their root mean square.
#include <string>
#include <utility>

#include "core/data/overlap.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/norm.hpp"
#include "ops/product/lower.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kRmsNorm = "rms_norm";

Status check_weight(const TensorView& x, const TensorView& weight) noexcept {
  const std::int64_t columns = x.shape[static_cast<std::size_t>(x.rank - 1)];
  if (weight.rank != 1 || weight.shape[0] != columns) {
    return fail(Code::invalid_argument, "rms_norm: weight.shape must be [{}]; got {}", columns,
                shape_string(weight));
  }
  if (weight.dtype != x.dtype && weight.dtype != DType::float32) {
    return fail(Code::invalid_argument,
                "rms_norm: weight.dtype must be x's ({}) or float32; got {}", name(x.dtype),
                name(weight.dtype));
  }
  return {};
}

// The residual as a matrix in its own memory: it is written.
Result<MatrixView> residual_of(const TensorView& x, const TensorView& residual,
                               const ExecContext& context) {
  if (residual.dtype != x.dtype || shape_string(residual) != shape_string(x)) {
    return fail(Code::invalid_argument, "rms_norm: residual must be {} {}, as x; got {} {}",
                name(x.dtype), shape_string(x), name(residual.dtype), shape_string(residual));
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kRmsNorm, residual, context));
  if (rows.copy.defined()) {
    return fail(Code::invalid_argument,
                "rms_norm: residual.strides must be those of rows, as it is written; got {}",
                shape_string(residual));
  }
  return MatrixView(rows.view);
}

Result<Tensor> run_norm(const TensorView& x, const RmsNormOptions& o, const ExecContext& context) {
  const Site site{kRmsNorm, &kLinearNames};
  OCTAVO_TRY(check_device(kRmsNorm, context));
  OCTAVO_TRY(check_float(site, Arg::a, x));
  if (x.rank < 1) {
    return fail(Code::invalid_argument, "rms_norm: x.shape must be [..., C]; got []");
  }
  if (!(o.epsilon >= 0.0F)) {
    return fail(Code::invalid_argument, "rms_norm: epsilon must be at least 0; got {}", o.epsilon);
  }
  for (const auto& [other, name] : {std::pair{o.weight, "weight"}, {o.residual, "residual"}}) {
    if (other.defined())
      OCTAVO_TRY(check_device_of(std::string("rms_norm: ") + name, other.device, "x", x.device));
  }
  RmsNormProblem problem;
  problem.epsilon = o.epsilon;
  if (o.weight.defined()) {
    OCTAVO_TRY(check_weight(x, o.weight));
    problem.weight = MatrixView(o.weight);
  }
  if (o.residual.defined()) {
    OCTAVO_TRY_ASSIGN(problem.residual, residual_of(x, o.residual, context));
    if (overlap(o.residual, x)) {
      return fail(Code::invalid_argument,
                  "rms_norm: residual must not overlap x; got shared memory");
    }
  }
  OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kRmsNorm, x, context));
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
  problem.x = rows.view;
  problem.out = out.rows.view;
  OCTAVO_TRY(backend->passes.rms_norm(problem, context));
  OCTAVO_TRY(out.finish(kRmsNorm, context));
  return out.tensor;
}

}  // namespace

Tensor rms_norm(const TensorView& x, const RmsNormOptions& options, const ExecContext& context) {
  return at_edge(kRmsNorm, [&] { return run_norm(x, options, context); });
}

}  // namespace octavo
