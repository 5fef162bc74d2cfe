// SPDX-License-Identifier: Apache-2.0
// Gradients of quantisers: straight through, and learned step sizes.
#include <algorithm>
#include <array>

#include "core/convert.hpp"
#include "core/element.hpp"
#include "core/error.hpp"
#include "core/parallel.hpp"
#include "core/scale_rows.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/gradients/vjp_arguments.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kQuantize = "quantize_vjp";
constexpr const char* kDequantize = "dequantize_vjp";

constexpr std::int64_t kPiece = ScaleRows::kMostColumns;

// Pieces of rows of a static quantiser: where an element was inside the range, and the slope of its
// dequantised value by the scale.
class StaticQuantiser {
 public:
  struct Piece {
    std::array<bool, static_cast<std::size_t>(kPiece)> inside;
    std::array<float, static_cast<std::size_t>(kPiece)> slope;
  };

  StaticQuantiser(const TensorView& x, const QuantizeOptions& o, const Quantized& q) noexcept
      : x_(x), dtype_(o.dtype), overflow_(o.overflow), azp_(q.azp), scale_(Operand(q).scale[0]) {}

  // Calls visit(row, column, count, piece) for all pieces, in parallel.
  template <class Visit>
  void each_piece(const ExecContext& context, const Visit& visit) const noexcept {
    const std::int64_t rows = x_.shape[0];
    const std::int64_t columns = x_.shape[1];
    for_each_band(context, bands_of(context, rows, rows * columns), rows,
                  [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                    Piece piece;
                    for (std::int64_t c = 0; c < columns; c += kPiece) {
                      const std::int64_t count = std::min(kPiece, columns - c);
                      ScaleRows scales(scale_, c, count);
                      for (std::int64_t i = begin; i < end; ++i) {
                        quantise(i, c, count, scales, piece);
                        visit(i, c, count, piece);
                      }
                    }
                  });
  }

 private:
  using Floats = std::array<float, static_cast<std::size_t>(kPiece)>;

  void quantise(std::int64_t i, std::int64_t c, std::int64_t count, ScaleRows& scales,
                Piece& piece) const noexcept {
    Floats quotient;
    load_row(x_.dtype, x_.at(i * x_.strides[0] + c * x_.strides[1]), x_.strides[1], count,
             quotient.data());
    const float* factors = scales.uniform() ? nullptr : scales.row(i);
    const float one = factors != nullptr ? 0.0F : scales.factor(i);
    const auto n = static_cast<std::size_t>(count);
    for (std::size_t j = 0; j < n; ++j) quotient[j] /= factors != nullptr ? factors[j] : one;
    is_float8(dtype_) ? floats(quotient, count, piece) : integers(quotient, i, c, count, piece);
  }

  void floats(const Floats& quotient, std::int64_t count, Piece& piece) const noexcept {
    std::array<std::uint8_t, static_cast<std::size_t>(kPiece)> codes;
    store_row(dtype_, quotient.data(), count, codes.data(), 1, overflow_);
    load_row(dtype_, codes.data(), 1, count, piece.slope.data());
    const float most = info(dtype_).max;
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      piece.inside[j] = quotient[j] >= -most && quotient[j] <= most;
      piece.slope[j] -= piece.inside[j] ? quotient[j] : 0.0F;
    }
  }

  void integers(const Floats& quotient, std::int64_t i, std::int64_t c, std::int64_t count,
                Piece& piece) const noexcept {
    if (!azp_.defined())
      return integers(
          quotient, count, [](std::size_t) { return 0.0; }, piece);
    const auto azp = [&](std::size_t j) {
      const std::int64_t column = (c + static_cast<std::int64_t>(j)) / scale_.cols;
      return static_cast<double>(load_int(azp_, i / scale_.rows, column));
    };
    integers(quotient, count, azp, piece);
  }

  // Section 6 in float64, where every step is exact.
  template <class ZeroPoint>
  void integers(const Floats& quotient, std::int64_t count, const ZeroPoint& azp_of,
                Piece& piece) const noexcept {
    constexpr double kAlign = 0x1.8p52;
    const double low = lowest_code(dtype_);
    const double high = low + 255.0;
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      const auto q = static_cast<double>(quotient[j]);
      double near = q > -0x1p31 ? q : -0x1p31;
      near = near < 0x1p31 - 1.0 ? near : 0x1p31 - 1.0;
      near = q == q ? near + kAlign - kAlign : 0.0;
      const double azp = azp_of(j);
      const double wish = near + azp;
      double code = wish > low ? wish : low;
      code = (code < high ? code : high) - azp;
      const bool inside = q == q && wish >= low && wish <= high;
      piece.inside[j] = inside;
      piece.slope[j] = static_cast<float>(inside ? code - q : code);
    }
  }

  TensorView x_;
  DType dtype_;
  Overflow overflow_;
  TensorView azp_;
  ScaleView scale_;
};

Status learned_step(const TensorView& grad, const TensorView& x, const QuantizeOptions& o,
                    const QuantizeWanted& wanted, float gradient_scale, const ExecContext& context,
                    QuantizeGradients& d) {
  const Site site{kQuantize, &kQuantizeVjpNames};
  Quantized q;
  OCTAVO_TRY(take_static(site, x, o, q));
  const StaticQuantiser quantiser(x, o, q);
  Tensor slopes;
  if (wanted.scale) {
    OCTAVO_TRY_ASSIGN(slopes, plane(kQuantize, DType::float32, x.shape[0], x.shape[1]));
  }
  const TensorView to = d.x;
  quantiser.each_piece(context, [&](std::int64_t i, std::int64_t c, std::int64_t count,
                                    const StaticQuantiser::Piece& piece) {
    if (wanted.scale) {
      std::copy_n(piece.slope.data(), count, slopes.data_as<float>() + i * x.shape[1] + c);
    }
    if (!wanted.x) return;
    std::array<float, static_cast<std::size_t>(kPiece)> g;
    load_row(grad.dtype, grad.at(i * grad.strides[0] + c * grad.strides[1]), grad.strides[1], count,
             g.data());
    for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j) {
      g[j] = piece.inside[j] ? g[j] : 0.0F;
    }
    store_row(to.dtype, g.data(), count, to.at(i * to.strides[0] + c * to.strides[1]),
              to.strides[1], Overflow::saturate);
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
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kQuantize, x.device, nullptr));
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
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kQuantize, x.device, nullptr));
    OCTAVO_TRY(backend->passes.rescale({grad, {}, {}, d.x}, context));
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
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kDequantize, grad.device, nullptr));
  DequantizeGradients d;
  if (wanted.data) {
    OCTAVO_TRY_ASSIGN(d.data, empty_like(kDequantize, q.data, grad.dtype));
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
