// SPDX-License-Identifier: Apache-2.0
// Gradients of quantisers: straight through, and learned step sizes.
#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/gradients/vjp_arguments.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kQuantize = "quantize_vjp";
constexpr const char* kDequantize = "dequantize_vjp";

Status learned_step(const TensorView& grad, const TensorView& x, const QuantizeOptions& o,
                    const QuantizeWanted& wanted, float gradient_scale, const ExecContext& context,
                    QuantizeGradients& d) {
  const Site site{kQuantize, &kQuantizeNames};
  const VjpMemory memory{kQuantize, context.place(x.device)};
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kQuantize, x.device, nullptr));
  Quantized q;
  OCTAVO_TRY(take_static(site, x, o, context, q));
  Tensor slopes;
  if (wanted.scale) {
    OCTAVO_TRY_ASSIGN(slopes, plane(memory, DType::float32, x.shape[0], x.shape[1]));
  }
  OCTAVO_TRY(backend->passes.learned_step(
      {x, o.dtype, o.overflow, Operand(q).scale[0], q.azp, grad, d.x, slopes}, context));
  if (!wanted.scale) return {};
  QuantizeOptions shadow = o;
  StandIn stand_in;
  const bool tensor = o.scale.kind() == Scale::Kind::tensor;
  OCTAVO_TRY(tensor ? stand_in.make(memory, o.scale.values()) : stand_in.make_number(memory));
  shadow.scale = Scale(stand_in.argument(), tensor ? o.scale.granularity() : per_tensor());
  OCTAVO_TRY_ASSIGN(const ScaleView cells, static_scale(site, x, shadow));
  ScaleView factor;
  factor.kind = ScaleKind::number;
  factor.number = gradient_scale;
  OCTAVO_TRY(sum_cells(kQuantize, *backend, {{grad, slopes}, {}, factor, stand_in.cells(cells), {}},
                       context));
  OCTAVO_TRY_ASSIGN(d.scale, stand_in.round(memory));
  return {};
}

Result<QuantizeGradients> run_quantize(const TensorView& grad, const TensorView& x,
                                       const QuantizeOptions& o, const QuantizeWanted& wanted,
                                       float gradient_scale, const ExecContext& context) {
  const Site site{kQuantize, &kQuantizeNames};
  OCTAVO_TRY(check_quantize(site, x, o));
  OCTAVO_TRY(check_grad(site, grad, x.dims()));
  const bool is_static = o.scale.kind() > Scale::Kind::null;
  if (wanted.scale && !is_static) {
    return fail(Code::invalid_argument,
                "{} must be static where its gradient is wanted (a computed one is no argument); "
                "got none",
                site(Arg::scale_a));
  }
  QuantizeGradients d;
  if (wanted.x) {
    OCTAVO_TRY_ASSIGN(d.x, empty_like({kQuantize, context.place(x.device)}, x, x.dtype));
  }
  if (is_static) {
    OCTAVO_TRY(learned_step(grad, x, o, wanted, gradient_scale, context, d));
  } else if (wanted.x) {
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kQuantize, x.device, nullptr));
    OCTAVO_TRY(backend->passes.rescale({grad, {}, {}, d.x}, context));
  }
  return d;
}

// Sums over the cells of dequantize's grid.
Status sum_grid(const Backend& backend, const std::array<MatrixView, 3>& factors,
                const ScaleView& grid, const Tensor& scale, StandIn& stand_in,
                const ExecContext& context) {
  OCTAVO_TRY(stand_in.make({kDequantize, context.place(scale.device())}, scale));
  ScaleView cells = grid;
  cells.data = stand_in.argument();
  return sum_cells(kDequantize, backend, {factors, {}, {}, stand_in.cells(cells), {}}, context);
}

Result<DequantizeGradients> run_dequantize(const TensorView& grad, const Quantized& q,
                                           const DequantizeWanted& wanted,
                                           const ExecContext& context) {
  const Site site{kDequantize, &kDequantizeNames};
  OCTAVO_TRY(check_dequantize(site, q));
  OCTAVO_TRY(check_grad(site, grad, q.data.view().dims()));
  if (wanted.azp && !q.azp.defined()) {
    return fail(Code::invalid_argument, "{} must be given where its gradient is wanted; got none",
                site(Arg::azp));
  }
  const ScaleView scale = Operand(q).scale[0];
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kDequantize, grad.device, nullptr));
  const VjpMemory memory{kDequantize, context.place(grad.device)};
  DequantizeGradients d;
  if (wanted.data) {
    OCTAVO_TRY_ASSIGN(d.data, empty_like(memory, q.data, grad.dtype));
    OCTAVO_TRY(backend->passes.rescale({grad, {}, {scale}, d.data}, context));
  }
  const bool shifts = q.azp.defined() && (wanted.azp || wanted.scale);
  StandIn plain;  // sums of grad
  StandIn coded;  // sums of grad * code
  if (shifts) OCTAVO_TRY(sum_grid(*backend, {grad}, scale, q.scale, plain, context));
  if (wanted.scale) {
    OCTAVO_TRY(sum_grid(*backend, {grad, q.data.view()}, scale, q.scale, coded, context));
  }
  if (wanted.azp) {
    OCTAVO_TRY_ASSIGN(d.azp, empty_like(memory, q.azp, DType::float32));
  }
  if (shifts) {
    OCTAVO_TRY(backend->passes.dequantize_sums({plain.sums(), coded.sums(), q.azp, q.scale, d.azp},
                                               context));
  }
  OCTAVO_TRY_ASSIGN(d.scale, coded.round(memory));
  return d;
}

}  // namespace

QuantizeGradients quantize_vjp(const TensorView& grad, const TensorView& x,
                               const QuantizeOptions& forward, const QuantizeWanted& wanted,
                               float gradient_scale, const ExecContext& context) {
  return at_edge(kQuantize,
                 [&] { return run_quantize(grad, x, forward, wanted, gradient_scale, context); });
}

DequantizeGradients dequantize_vjp(const TensorView& grad, const Quantized& q,
                                   const DequantizeWanted& wanted, const ExecContext& context) {
  return at_edge(kDequantize, [&] { return run_dequantize(grad, q, wanted, context); });
}

}  // namespace octavo
