// SPDX-License-Identifier: Apache-2.0
// The gradient of a weight under LLM.int8 (specification section 8):
//
//   dW[n, k] = sum over m of Gq[m, n] Aq[m, k] * (SG[n] / 127) * (SA[k] / 127)
//
// Gradient and activations are quantised by column, since the sum runs over rows: a row's own scale
// could not leave the sum. For outlier columns of the activations products of the tensors as they
// are take the place of these.
#include <algorithm>
#include <vector>

#include "core/error.hpp"
#include "ops/gradients/vjp.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

// Codes of a matrix by column into `codes`, of its shape; gives their scales absmax / 127, [C, 1].
Result<Tensor> quantize_columns(const VjpCall& call, const MatrixView& x, const MatrixView& codes,
                                float threshold) {
  OCTAVO_TRY_ASSIGN(const Tensor absmax, plane(call, DType::float32, x.shape[1], 1));
  OCTAVO_TRY_ASSIGN(const Tensor scales, plane(call, DType::float32, x.shape[1], 1));
  VectorwiseProblem problem;
  problem.x = x.transposed();
  problem.threshold = threshold;
  problem.codes = codes.transposed();
  problem.absmax = absmax;
  OCTAVO_TRY(call.on->passes.vectorwise(problem, call.context));
  RescaleProblem quotient;
  quotient.source = absmax.view().transposed();
  quotient.divisor = 127.0F;
  quotient.out = scales.view().transposed();
  OCTAVO_TRY(call.on->passes.rescale(quotient, call.context));
  return scales;
}

// The columns of x that the forward product took in float; the host waits for them.
Result<std::vector<std::int64_t>> outlier_columns(const VjpCall& call, const MatrixView& x,
                                                  const ActivationQuant& rule) {
  if (rule.outlier_threshold <= 0.0F && !rule.outlier_columns.defined()) {
    return std::vector<std::int64_t>();
  }
  const std::int64_t k = x.shape[1];
  OCTAVO_TRY_ASSIGN(const Tensor flags, plane(call, DType::uint8, 1, k));
  OCTAVO_TRY_ASSIGN(const Tensor columns, plane(call, DType::int64, 1, k));
  OCTAVO_TRY_ASSIGN(const Tensor count, plane(call, DType::int64, 1, 1));
  OCTAVO_TRY_ASSIGN(const Tensor absmax, plane(call, DType::float32, x.shape[0], 1));
  VectorwiseProblem problem;
  problem.x = x;
  problem.threshold = rule.outlier_threshold;
  problem.fixed_columns = rule.outlier_columns;
  problem.absmax = absmax;
  problem.column_flags = flags.data_as<std::uint8_t>();
  problem.columns = columns.data_as<std::int64_t>();
  problem.column_count = count.data_as<std::int64_t>();
  OCTAVO_TRY(call.on->passes.vectorwise(problem, call.context));
  void* stream = call.place.stream;
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> found,
                    integers_of(call.operation, count, stream));
  return integers_of(call.operation, columns.view().slice(1, 0, found.front()), stream);
}

ScaleView scale_of(const Tensor& scales) noexcept {
  return {ScaleKind::tensor, 1.0F, scales.view(), 1, kWholeExtent, 0, 0};
}

Status multiply(const VjpCall& call, const Member& member) {
  MatmulProblem problem;
  problem.operation = call.operation;
  problem.options.overflow = call.matmul.overflow;
  problem.single = member;
  return run_problem(problem, call.context, call.backend);
}

// Rows `columns` of the gradient [K, N]: those columns of x, transposed, times the gradient.
Status outlier_rows(const VjpCall& call, const VjpMember& m, const MatrixView& grad,
                    const std::vector<std::int64_t>& columns) {
  const MatrixView x = m.forward.a.data;
  const auto count = static_cast<std::int64_t>(columns.size());
  if (count == 0) return {};
  const bool same = grad.dtype == x.dtype;
  const DType type = same ? x.dtype : DType::float32;
  OCTAVO_TRY_ASSIGN(const Tensor picked, plane(call, type, count, x.shape[0]));
  OCTAVO_TRY_ASSIGN(const Tensor rows, plane(call, DType::float32, count, grad.shape[1]));
  Tensor wide;
  MatrixView g = grad;
  if (!same) {
    OCTAVO_TRY_ASSIGN(wide, plane(call, type, grad.shape[0], grad.shape[1]));
    OCTAVO_TRY(call.on->passes.rescale({grad, {}, {}, wide}, call.context));
    g = wide;
  }
  const auto row = [](const MatrixView& v, std::int64_t i) { return v.slice(0, i, i + 1); };
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t c = columns[static_cast<std::size_t>(i)];
    OCTAVO_TRY(
        call.on->passes.rescale({row(x.transposed(), c), {}, {}, row(picked, i)}, call.context));
  }
  Member product;
  product.a = OperandView(picked);
  product.b = OperandView(g);
  product.epilogue.alpha = m.forward.epilogue.alpha;
  product.out = rows;
  OCTAVO_TRY(multiply(call, product));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t c = columns[static_cast<std::size_t>(i)];
    OCTAVO_TRY(call.on->passes.rescale({row(rows, i), {}, {}, row(m.grad_b, c)}, call.context));
  }
  return {};
}

}  // namespace

Status llm_int8_weight_gradient(const VjpCall& call, const VjpMember& m, const ScaleView& result) {
  const ActivationQuant& rule = *m.forward.a.quantize;
  const MatrixView x = m.forward.a.data;
  MatrixView grad = m.grad;
  Tensor scaled;
  if (result.present()) {
    OCTAVO_TRY_ASSIGN(scaled, plane(call, grad.dtype, grad.shape[0], grad.shape[1]));
    OCTAVO_TRY(call.on->passes.rescale({grad, {}, {result}, scaled}, call.context));
    grad = scaled;
  }
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> columns, outlier_columns(call, x, rule));
  const std::int64_t rows = x.shape[0];
  OCTAVO_TRY_ASSIGN(const Tensor x_codes, plane(call, DType::int8, rows, x.shape[1]));
  OCTAVO_TRY_ASSIGN(const Tensor g_codes, plane(call, DType::int8, grad.shape[1], rows));
  OCTAVO_TRY_ASSIGN(const Tensor x_scales,
                    quantize_columns(call, x, x_codes, rule.outlier_threshold));
  OCTAVO_TRY_ASSIGN(const Tensor g_scales,
                    quantize_columns(call, grad, g_codes.transposed(), 0.0F));
  Member product;
  product.a = OperandView(g_codes);
  product.a.scale[0] = scale_of(g_scales);
  product.b = OperandView(x_codes);
  product.b.scale[0] = scale_of(x_scales).transposed();
  product.epilogue.alpha = m.forward.epilogue.alpha;
  product.out = m.grad_b.transposed();
  OCTAVO_TRY(multiply(call, product));
  return outlier_rows(call, m, grad, columns);
}

}  // namespace octavo
