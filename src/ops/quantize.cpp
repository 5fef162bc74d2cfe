// SPDX-License-Identifier: Apache-2.0
// The quantisers' entry points.
#include "octavo/quantize.hpp"

#include <cmath>

#include "core/cells.hpp"
#include "core/element.hpp"
#include "core/error.hpp"
#include "core/grid.hpp"
#include "core/parallel.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

constexpr const char* kQuantize = "quantize";

QuantizeSpec spec_of(const QuantizeOptions& o) {
  return {.dtype = o.dtype,
          .granularity = o.granularity,
          .azp = o.azp,
          .scale_ub = o.scale_ub,
          .min_scale = o.min_scale,
          .rounding = o.rounding,
          .scale_dtype = o.scale_dtype,
          .non_finite = o.non_finite,
          .overflow = o.overflow};
}

Status check_options(const TensorView& x, const QuantizeOptions& o) {
  const auto refuse = [](const char* sentence, auto value) {
    return fail(Code::invalid_argument, "quantize: {}; got {}", sentence, value);
  };
  if (!x.defined()) return refuse("x must be a tensor", "an undefined one");
  if (x.device.type != DeviceType::cpu) {
    return fail(Code::unavailable,
                "quantize: x.device must be cpu (no CUDA backend is built); got cuda:{}",
                x.device.index);
  }
  if (x.rank != 2) return refuse("x.shape must be 2-D", shape_string(x));
  if (x.data == nullptr && x.numel() > 0) return refuse("x.data must not be null", "null");
  if (!is_wide(x.dtype)) {
    return refuse("x.dtype must be float32, bfloat16 or float16", name(x.dtype));
  }
  if (!is_float8(o.dtype) && !is_integer8(o.dtype)) {
    return refuse("dtype must be a float8 type, int8 or uint8", name(o.dtype));
  }
  if (o.azp && !is_integer8(o.dtype)) {
    return refuse("azp must come with int8 or uint8", name(o.dtype));
  }
  if (o.dtype == DType::uint8 && !o.azp) {
    return refuse("dtype uint8 must come with azp = true (its codes are not symmetric)",
                  "azp = false");
  }
  if (!(o.scale_ub > 0.0F)) return refuse("scale_ub must be positive", o.scale_ub);
  if (!(o.min_scale >= 0.0F)) return refuse("min_scale must be at least 0", o.min_scale);
  const bool powers = o.rounding != ScaleRounding::none;
  if (o.rounding == ScaleRounding::mx_floor && !is_float8(o.dtype)) {
    return refuse("rounding mx_floor must come with a float8 type", name(o.dtype));
  }
  if (powers && o.azp) return refuse("rounding must be none with azp", "a power of two");
  if (o.scale_dtype != DType::float32 && !(o.scale_dtype == DType::float8_e8m0fnu && powers)) {
    return refuse(
        "scale_dtype must be float32, or float8_e8m0fnu with power-of-two scales (rounding)",
        name(o.scale_dtype));
  }
  const bool given = o.scale.kind() == Scale::Kind::tensor &&
                     o.scale.granularity().kind != Granularity::Kind::automatic;
  if (o.granularity.kind == Granularity::Kind::automatic && !given) {
    return refuse("granularity must be declared", "automatic");
  }
  const Granularity& g = o.granularity;
  const bool sized = g.kind == Granularity::Kind::group || g.kind == Granularity::Kind::block;
  if (sized && (g.rows < 1 || (g.kind == Granularity::Kind::block && g.cols < 1))) {
    return refuse("granularity must have sizes of at least 1", to_string(g));
  }
  if ((g.kind == Granularity::Kind::token && o.side == Side::b) ||
      (g.kind == Granularity::Kind::channel && o.side == Side::a)) {
    return refuse(
        o.side == Side::a
            ? "granularity must be per_token() for one scale per row (per_channel() needs "
              "side = Side::b)"
            : "granularity must be per_channel() for one scale per column (per_token() "
              "needs side = Side::a)",
        to_string(g));
  }
  if (o.azp_in.defined() && (!o.azp || o.scale.kind() == Scale::Kind::undefined)) {
    return refuse("azp_in must come with azp = true and a static scale", "less");
  }
  return {};
}

Status check_finite(const TensorView& x) {
  for (std::int64_t i = 0; i < x.shape[0]; ++i) {
    for (std::int64_t j = 0; j < x.shape[1]; ++j) {
      const float value = load_float(x, i, j);
      if (std::isfinite(value)) continue;
      return fail(Code::invalid_argument, "quantize: x[{}, {}] must be finite; got {}", i, j,
                  value);
    }
  }
  return {};
}

// A matrix whose elements lie in the stride order of x.
Result<Tensor> like(const TensorView& x, DType dtype) {
  const bool transposed = std::abs(x.strides[0]) < std::abs(x.strides[1]);
  const std::array<std::int64_t, 2> shape{x.shape[transposed ? 1 : 0], x.shape[transposed ? 0 : 1]};
  OCTAVO_TRY_ASSIGN(const Tensor tensor, Tensor::try_empty(kQuantize, dtype, shape));
  return transposed ? tensor.transposed() : tensor;
}

// Static quantisation: own copies of the given scales and zero points in their natural shape.
Status take_static(const TensorView& x, const QuantizeOptions& o, Quantized& q) {
  const Site site{kQuantize, &kQuantizeNames};
  const Scale scale = o.scale.kind() == Scale::Kind::tensor &&
                              o.scale.granularity().kind == Granularity::Kind::automatic
                          ? Scale(o.scale.values(), o.granularity)
                          : o.scale;
  OCTAVO_TRY_ASSIGN(
      const ScaleView view,
      resolve_scale(site, scale, {.side = o.side, .rows = x.shape[0], .cols = x.shape[1]}));
  q.grid = {view.rows, view.cols};
  const std::array<std::int64_t, 2> one{1, 1};
  if (view.kind == ScaleView::Kind::tensor) {
    q.scale = copy(view.data, view.data.dtype);
  } else {
    OCTAVO_TRY_ASSIGN(q.scale, Tensor::try_empty(kQuantize, DType::float32, one));
    *q.scale.data_as<float>() = view.number;
  }
  if (!o.azp) return {};
  const TensorView& azp = o.azp_in;
  const bool fits = azp.defined() && azp.dtype == DType::int32 &&
                    (azp.numel() == q.scale.numel()) && azp.rank <= 2;
  if (!fits) {
    return fail(Code::invalid_argument,
                "quantize: azp_in must be int32 with one element per scale {}; got {} {}",
                shape_string(q.scale.view()), name(azp.dtype), shape_string(azp));
  }
  q.azp = copy(azp, DType::int32);
  TensorView shaped = q.azp.view();
  shaped.rank = 2;
  shaped.shape = q.scale.view().shape;
  shaped.strides = {shaped.shape[1], 1};
  q.azp = Tensor::adopt(std::make_shared<Tensor>(q.azp), shaped);
  return {};
}

Status allocate_scales(const TensorView& x, const QuantizeOptions& o, Quantized& q) {
  q.grid = scale_grid(o.granularity, o.side);
  const std::array<std::int64_t, 2> shape{cells(x.shape[0], q.grid.rows),
                                          cells(x.shape[1], q.grid.cols)};
  OCTAVO_TRY_ASSIGN(q.scale, Tensor::try_empty(kQuantize, o.scale_dtype, shape));
  if (o.azp) {
    OCTAVO_TRY_ASSIGN(q.azp, Tensor::try_empty(kQuantize, DType::int32, shape));
  }
  return {};
}

Result<Quantized> run_quantize(const TensorView& x, const QuantizeOptions& o, bool codes,
                               const ExecContext& context) {
  OCTAVO_TRY(check_options(x, o));
  if (o.non_finite == NonFinite::error) OCTAVO_TRY(check_finite(x));
  const bool is_static =
      o.scale.kind() == Scale::Kind::number || o.scale.kind() == Scale::Kind::tensor;
  Quantized q;
  OCTAVO_TRY(is_static ? take_static(x, o, q) : allocate_scales(x, o, q));
  if (codes) {
    OCTAVO_TRY_ASSIGN(q.data, like(x, o.dtype));
  }
  OCTAVO_TRY_ASSIGN(const Backend* backend, first_backend(kQuantize, nullptr));
  QuantizeProblem problem;
  problem.x = x;
  problem.spec = spec_of(o);
  problem.grid = q.grid;
  problem.scales = q.scale.view();
  problem.azp = q.azp.view();
  problem.static_scales = is_static;
  problem.codes = q.data.view();
  OCTAVO_TRY(backend->quantize(problem, context));
  return q;
}

}  // namespace

Quantized quantize(const TensorView& x, const QuantizeOptions& options,
                   const ExecContext& context) {
  return at_edge(kQuantize, [&] { return run_quantize(x, options, true, context); });
}

Quantized compute_scale(const TensorView& x, const QuantizeOptions& options,
                        const ExecContext& context) {
  return at_edge(kQuantize, [&] { return run_quantize(x, options, false, context); });
}

Quantized quantize_mxfp8(const TensorView& x, DType dtype, Side side, const ExecContext& context) {
  return quantize(x,
                  {.dtype = dtype,
                   .granularity = group(32),
                   .side = side,
                   .rounding = ScaleRounding::mx_floor,
                   .scale_dtype = DType::float8_e8m0fnu},
                  context);
}

Tensor dequantize(const Quantized& q, DType out_dtype, const ExecContext& context) {
  return at_edge("dequantize", [&]() -> Result<Tensor> {
    const TensorView& codes = q.data;
    if (codes.rank != 2 || q.scale.rank() != 2 || !is_wide(out_dtype)) {
      return fail(Code::invalid_argument,
                  "dequantize: codes and scale must be 2-D and out_dtype a float type; got {}, {} "
                  "and {}",
                  shape_string(codes), shape_string(q.scale.view()), name(out_dtype));
    }
    OCTAVO_TRY_ASSIGN(const Tensor out, Tensor::try_empty("dequantize", out_dtype, codes.dims()));
    const ScaleView scale{
        ScaleView::Kind::tensor, 1.0F, q.scale.view(), q.grid.rows, q.grid.cols, 0, 0};
    parallel_for(context, codes.shape[0], [&](std::int64_t i) {
      for (std::int64_t j = 0; j < codes.shape[1]; ++j) {
        float value = load_float(codes, i, j);
        if (q.azp.defined()) {
          const std::int64_t azp = load_int(q.azp.view(), i / q.grid.rows, j / q.grid.cols);
          value = static_cast<float>(load_int(codes, i, j) - azp);
        }
        store_float(out_dtype, out.data(), i * codes.shape[1] + j, value * scale_at(scale, i, j),
                    Overflow::saturate);
      }
    });
    return out;
  });
}

}  // namespace octavo
