// SPDX-License-Identifier: Apache-2.0
// Gradients of quantisers: straight through, and learned step sizes.
#include <algorithm>
#include <array>

#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/error.hpp"
#include "core/grid.hpp"
#include "core/parallel.hpp"
#include "core/quantize_rules.hpp"
#include "ops/quantize.hpp"
#include "ops/reduce.hpp"
#include "ops/run.hpp"
#include "ops/vjp_arguments.hpp"

namespace octavo {
namespace {

constexpr const char* kQuantize = "quantize_vjp";
constexpr const char* kDequantize = "dequantize_vjp";

// A static quantiser, element by element: what the code is worth, and whether it was clipped.
class StaticQuantiser {
 public:
  StaticQuantiser(const QuantizeOptions& o, const Quantized& q) noexcept
      : dtype_(o.dtype), overflow_(o.overflow), azp_(q.azp) {
    scale_.kind = ScaleView::Kind::tensor;
    scale_.data = q.scale;
    scale_.rows = q.grid.rows;
    scale_.cols = q.grid.cols;
  }

  const ScaleView& scale() const noexcept { return scale_; }

  struct Result {
    bool inside;
    float slope;  // of the dequantised value by the scale
  };
  Result operator()(float x, float scale, std::int64_t i, std::int64_t j) const noexcept {
    const float quotient = x / scale;
    if (is_float8(dtype_)) {
      const float most = info(dtype_).max;
      const bool inside = quotient >= -most && quotient <= most;
      const float code = converted(quotient);
      return {inside, inside ? code - quotient : code};
    }
    const std::int64_t azp = azp_.defined() ? load_int(azp_, i / scale_.rows, j / scale_.cols) : 0;
    const std::int64_t low = dtype_ == DType::int8 ? -128 : 0;
    const std::int64_t wish = std::int64_t{round_to_int32(quotient)} + azp;
    const bool inside = wish >= low && wish <= low + 255 && quotient == quotient;
    const auto code = static_cast<float>(std::clamp(wish, low, low + 255) - azp);
    return {inside, inside ? code - quotient : code};
  }

 private:
  float converted(float x) const noexcept {
    std::uint8_t code = 0;
    store_float(dtype_, &code, 0, x, overflow_);
    return load_float(dtype_, &code, 0);
  }

  DType dtype_;
  Overflow overflow_;
  TensorView azp_;
  ScaleView scale_;
};

// Calls visit(i, j, result) for every element.
template <class Visit>
void each_element(const StaticQuantiser& quantiser, const TensorView& x, const ExecContext& context,
                  const Visit& visit) noexcept {
  const std::int64_t rows = x.shape[0];
  const std::int64_t columns = x.shape[1];
  for_each_band(context, bands_of(context, rows, rows * columns), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    for (std::int64_t j = 0; j < columns; ++j) {
                      const float scale = scale_at(quantiser.scale(), i, j);
                      visit(i, j, quantiser(load_float(x, i, j), scale, i, j));
                    }
                  }
                });
}

Status learned_step(const TensorView& grad, const TensorView& x, const QuantizeOptions& o,
                    const QuantizeWanted& wanted, float gradient_scale, const ExecContext& context,
                    QuantizeGradients& d) {
  const Site site{kQuantize, &kQuantizeVjpNames};
  Quantized q;
  OCTAVO_TRY(take_static(site, x, o, q));
  const StaticQuantiser quantiser(o, q);
  Tensor slopes;
  if (wanted.scale) {
    OCTAVO_TRY_ASSIGN(slopes, plane(kQuantize, DType::float32, x.shape[0], x.shape[1]));
  }
  const TensorView to = d.x;
  each_element(quantiser, x, context,
               [&](std::int64_t i, std::int64_t j, const StaticQuantiser::Result& r) {
                 if (wanted.scale) slopes.data_as<float>()[i * x.shape[1] + j] = r.slope;
                 if (!wanted.x) return;
                 store_float(to.dtype, to.data, i * to.strides[0] + j * to.strides[1],
                             r.inside ? load_float(grad, i, j) : 0.0F, Overflow::saturate);
               });
  if (!wanted.scale) return {};
  QuantizeOptions shadow = o;
  StandIn stand_in;
  const bool tensor = o.scale.kind() == Scale::Kind::tensor;
  OCTAVO_TRY(tensor ? stand_in.make(kQuantize, o.scale.values()) : stand_in.make_number(kQuantize));
  shadow.scale = Scale(stand_in.argument(), tensor ? o.scale.granularity() : per_tensor());
  OCTAVO_TRY_ASSIGN(const ScaleView cells, static_scale(site, x, shadow));
  ScaleView factor;
  factor.kind = ScaleView::Kind::number;
  factor.number = gradient_scale;
  OCTAVO_TRY_ASSIGN(const Backend* backend, first_backend(kQuantize, nullptr));
  OCTAVO_TRY(sum_cells(kQuantize, *backend, {{grad, slopes}, {}, factor, stand_in.cells(cells), {}},
                       context));
  OCTAVO_TRY_ASSIGN(d.scale, stand_in.round(kQuantize));
  return {};
}

Result<QuantizeGradients> run_quantize(const TensorView& grad, const TensorView& x,
                                       const QuantizeOptions& o, const QuantizeWanted& wanted,
                                       float gradient_scale, const ExecContext& context) {
  const Site site{kQuantize, &kQuantizeVjpNames};
  OCTAVO_TRY(check_quantize(site, x, o));
  OCTAVO_TRY(check_grad(site, grad, x.dims()));
  const FloatEnvironment environment;
  const bool is_static = o.scale.kind() > Scale::Kind::null;
  if (wanted.scale && !is_static) {
    return fail(Code::invalid_argument,
                "{} must be static where its gradient is wanted (a computed one is no argument); "
                "got none",
                site(Arg::scale_a));
  }
  QuantizeGradients d;
  if (wanted.x) {
    OCTAVO_TRY_ASSIGN(d.x, empty_like(kQuantize, x, x.dtype));
  }
  if (is_static) {
    OCTAVO_TRY(learned_step(grad, x, o, wanted, gradient_scale, context, d));
  } else if (wanted.x) {
    OCTAVO_TRY_ASSIGN(const Backend* backend, first_backend(kQuantize, nullptr));
    backend->rescale({grad, {}, {}, d.x}, context);
  }
  return d;
}

// Sums over the cells of dequantize's grid.
Status sum_grid(const Backend& backend, const std::array<TensorView, 3>& factors,
                const ScaleView& grid, const Tensor& scale, StandIn& stand_in,
                const ExecContext& context) {
  OCTAVO_TRY(stand_in.make(kDequantize, scale));
  ScaleView cells = grid;
  cells.data = stand_in.argument();
  return sum_cells(kDequantize, backend, {factors, {}, {}, stand_in.cells(cells), {}}, context);
}

Result<DequantizeGradients> run_dequantize(const TensorView& grad, const Quantized& q,
                                           const DequantizeWanted& wanted,
                                           const ExecContext& context) {
  const Site site{kDequantize, &kDequantizeVjpNames};
  OCTAVO_TRY(check_dequantize(site, q));
  OCTAVO_TRY(check_grad(site, grad, q.data.view().dims()));
  if (wanted.azp && !q.azp.defined()) {
    return fail(Code::invalid_argument, "{} must be given where its gradient is wanted; got none",
                site(Arg::azp));
  }
  const FloatEnvironment environment;
  const ScaleView scale = Operand(q).scale[0];
  OCTAVO_TRY_ASSIGN(const Backend* backend, first_backend(kDequantize, nullptr));
  DequantizeGradients d;
  if (wanted.data) {
    OCTAVO_TRY_ASSIGN(d.data, empty_like(kDequantize, q.data, grad.dtype));
    backend->rescale({grad, {}, {scale}, d.data}, context);
  }
  const bool shifts = q.azp.defined() && (wanted.azp || wanted.scale);
  StandIn plain;  // sums of grad
  StandIn coded;  // sums of grad * code
  if (shifts) OCTAVO_TRY(sum_grid(*backend, {grad}, scale, q.scale, plain, context));
  if (wanted.scale) {
    OCTAVO_TRY(sum_grid(*backend, {grad, q.data.view()}, scale, q.scale, coded, context));
  }
  if (wanted.azp) {
    OCTAVO_TRY_ASSIGN(d.azp, empty_like(kDequantize, q.azp, DType::float32));
  }
  for (std::int64_t i = 0; shifts && i < q.scale.size(0); ++i) {
    for (std::int64_t j = 0; j < q.scale.size(1); ++j) {
      const double sum = *plain.sum(i, j);
      if (wanted.scale) *coded.sum(i, j) -= static_cast<double>(load_int(q.azp, i, j)) * sum;
      if (!wanted.azp) continue;
      const TensorView& to = d.azp;
      const double gradient = -sum * static_cast<double>(load_float(q.scale, i, j));
      store_float(to.dtype, to.data, i * to.strides[0] + j * to.strides[1],
                  static_cast<float>(gradient), Overflow::saturate);
    }
  }
  OCTAVO_TRY_ASSIGN(d.scale, coded.round(kDequantize));
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
