// SPDX-License-Identifier: Apache-2.0
// The quantisers' entry points.
#include "octavo/quantize.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/data/cells.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "ops/quantize/quantize.hpp"
#include "ops/rules.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr const char* kQuantize = "quantize";

QuantizeSpec spec_of(const QuantizeOptions& o) {
  return {.dtype = o.dtype,
          .granularity = o.granularity,
          .azp = o.azp,
          .scale_ub = o.scale_ub,
          .min_scale = o.min_scale,
          .qmax = o.qmax,
          .rounding = o.rounding,
          .scale_dtype = o.scale_dtype,
          .non_finite = o.non_finite,
          .overflow = o.overflow,
          .widen = o.widen};
}

// A matrix whose elements lie in the stride order of x.
Result<Tensor> like(const char* operation, const TensorView& x, DType dtype,
                    const ExecContext& context) {
  const bool transposed = std::abs(x.strides[0]) < std::abs(x.strides[1]);
  const std::array<std::int64_t, 2> shape{x.shape[transposed ? 1 : 0], x.shape[transposed ? 0 : 1]};
  OCTAVO_TRY_ASSIGN(const Tensor tensor,
                    Tensor::try_empty(operation, dtype, shape, context.place(x.device)));
  return transposed ? tensor.transposed() : tensor;
}

Status allocate_scales(const char* operation, const TensorView& x, const QuantizeOptions& o,
                       const Place& place, Quantized& q) {
  q.grid = scale_grid(o.granularity, o.side);
  const std::array<std::int64_t, 2> shape{cells(x.shape[0], q.grid.rows),
                                          cells(x.shape[1], q.grid.cols)};
  OCTAVO_TRY_ASSIGN(q.scale, Tensor::try_empty(operation, o.scale_dtype, shape, place));
  if (o.azp) {
    OCTAVO_TRY_ASSIGN(q.azp, Tensor::try_empty(operation, DType::int32, shape, place));
  }
  return {};
}

QuantizeProblem problem_of(const char* operation, const TensorView& x, const QuantizeOptions& o,
                           const Quantized& q, bool is_static) {
  QuantizeProblem problem;
  problem.operation = operation;
  problem.x = x;
  problem.spec = spec_of(o);
  problem.grid = q.grid;
  problem.scales = q.scale.view();
  problem.azp = q.azp.view();
  problem.static_scales = is_static;
  problem.codes = q.data.view();
  return problem;
}

Status run_on(const char* name, const TensorView& x, const QuantizeProblem& problem,
              const ExecContext& context) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kQuantize, x.device, name));
  if (problem.spec.non_finite == NonFinite::error) {
    OCTAVO_TRY(backend->passes.check_finite({kQuantize, x}, context));
  }
  return backend->passes.quantize(problem, context);
}

Result<Quantized> run_quantize(const TensorView& x, const QuantizeOptions& o, bool codes,
                               const ExecContext& context, CodeErrors* errors = nullptr) {
  OCTAVO_TRY_ASSIGN(Quantizing q,
                    begin_quantize({kQuantize, &kQuantizeNames}, x, o, codes, context));
  q.problem.errors = errors;
  OCTAVO_TRY(run_on(nullptr, x, q.problem, context));
  return std::move(q.result);
}

// Those of a weight are summed while its codes are made.
Result<Quantized> run_measured(const TensorView& x, const QuantizeOptions& o, CodeErrors& errors,
                               const ExecContext& context) {
  const bool at_once = on_host(x) && has_rows(x) && o.scale.kind() == Scale::Kind::undefined &&
                       o.scale_dtype == DType::float32 && !o.azp &&
                       o.overflow == Overflow::saturate;
  OCTAVO_TRY_ASSIGN(Quantized q, run_quantize(x, o, true, context, at_once ? &errors : nullptr));
  if (!at_once) {
    OCTAVO_TRY_ASSIGN(const CodeErrors own, try_code_errors(x, q, context));
    errors += own;
  }
  return q;
}

// Are these tensors what a quantiser with these options writes?
Status check_outputs(const TensorView& x, const QuantizeOptions& o, const Quantized& q) {
  const ScaleGrid grid = scale_grid(o.granularity, o.side);
  const std::array<std::int64_t, 2> shape{x.shape[0], x.shape[1]};
  const std::array<std::int64_t, 2> scales{cells(x.shape[0], grid.rows),
                                           cells(x.shape[1], grid.cols)};
  struct GivenTensor {
    const char* name;
    const TensorView& tensor;
    DType dtype;
    const std::array<std::int64_t, 2>& shape;
  };
  for (const GivenTensor& row :
       {GivenTensor{"data", q.data.view(), o.dtype, shape},
        GivenTensor{"scale", q.scale.view(), o.scale_dtype, scales},
        GivenTensor{"azp", q.azp.view(), o.azp ? DType::int32 : DType::undefined, scales}}) {
    const TensorView& t = row.tensor;
    if (t.defined()) OCTAVO_TRY(check_tensor({kQuantize, &kQuantizeNames}, Arg::out, t));
    if (t.dtype == row.dtype && (!t.defined() || std::ranges::equal(t.dims(), row.shape))) continue;
    return fail(Code::invalid_argument, "quantize: out.{} must be {} [{}, {}]; got {} {}", row.name,
                name(row.dtype), row.shape[0], row.shape[1], name(t.dtype), shape_string(t));
  }
  if (q.grid != grid) {
    return fail(Code::invalid_argument, "quantize: out.grid must be {} x {}; got {} x {}",
                grid.rows, grid.cols, q.grid.rows, q.grid.cols);
  }
  if (q.row0 == 0 && q.col0 == 0) return {};
  return fail(Code::invalid_argument,
              "quantize: out.row0 and out.col0 must be 0, since scales are those of the whole; got "
              "{} and {}",
              q.row0, q.col0);
}

Status run_quantize_into(const TensorView& x, const QuantizeOptions& o, const Quantized& out,
                         const ExecContext& context, const char* backend) {
  OCTAVO_TRY(check_quantize({kQuantize, &kQuantizeNames}, x, o));
  if (o.scale.kind() != Scale::Kind::undefined) {
    return fail(Code::invalid_argument,
                "quantize: scale must be undefined where scales are written; got one");
  }
  OCTAVO_TRY(check_outputs(x, o, out));
  return run_on(backend, x, problem_of(kQuantize, x, o, out, false), context);
}

}  // namespace

Status check_quantize(const Site& site, const TensorView& x, const QuantizeOptions& o) {
  const auto invalid = [&](const char* sentence, auto value) {
    return fail(Code::invalid_argument, "{}: {}; got {}", site.operation, sentence, value);
  };
  OCTAVO_TRY(check_tensor(site, Arg::a, x));
  if (x.rank != 2) return invalid("x.shape must be 2-D", shape_string(x));
  if (!is_wide(x.dtype)) {
    return invalid("x.dtype must be float32, bfloat16 or float16", name(x.dtype));
  }
  OCTAVO_TRY(check_spec(fmt::format("{}: ", site.operation), spec_of(o), o.side));
  const bool given = o.scale.kind() == Scale::Kind::tensor &&
                     o.scale.granularity().kind != Granularity::Kind::automatic;
  if (o.granularity.kind == Granularity::Kind::automatic && !given) {
    return invalid("granularity must be declared", "automatic");
  }
  if (o.azp_in.defined() && (!o.azp || o.scale.kind() == Scale::Kind::undefined)) {
    return invalid("azp_in must come with azp and a static scale", "less");
  }
  return {};
}

Result<Quantizing> begin_quantize(const Site& site, const TensorView& x, const QuantizeOptions& o,
                                  bool codes, const ExecContext& context) {
  OCTAVO_TRY(check_quantize(site, x, o));
  const bool is_static =
      o.scale.kind() == Scale::Kind::number || o.scale.kind() == Scale::Kind::tensor;
  Quantizing q;
  OCTAVO_TRY(is_static ? take_static(site, x, o, context, q.result)
                       : allocate_scales(site.operation, x, o, context.place(x.device), q.result));
  if (codes) {
    OCTAVO_TRY_ASSIGN(q.result.data, like(site.operation, x, o.dtype, context));
  }
  q.problem = problem_of(site.operation, x, o, q.result, is_static);
  return q;
}

// Static quantisation: own copies of the given scales and zero points in their natural shape.
Result<CarriedScale> static_scale(const Site& site, const TensorView& x, const QuantizeOptions& o) {
  const Scale scale = o.scale.kind() == Scale::Kind::tensor &&
                              o.scale.granularity().kind == Granularity::Kind::automatic
                          ? Scale(o.scale.values(), o.granularity)
                          : o.scale;
  return resolve_scale(site, scale, {.side = o.side, .rows = x.shape[0], .cols = x.shape[1]});
}

Status take_static(const Site& site, const TensorView& x, const QuantizeOptions& o,
                   const ExecContext& context, Quantized& q) {
  OCTAVO_TRY_ASSIGN(const CarriedScale view, static_scale(site, x, o));
  for (const auto& [arg, v] :
       {std::pair{Arg::scale_a, &view.data}, std::pair{Arg::azp, &o.azp_in}}) {
    if (v->defined()) OCTAVO_TRY(check_device_of(site(arg), v->device, "x", x.device));
  }
  q.grid = {view.rows, view.cols};
  const std::array<std::int64_t, 2> one{1, 1};
  if (view.kind == ScaleView::Kind::tensor) {
    q.scale = copy(view.data, view.data.dtype, context.stream);
  } else {
    OCTAVO_TRY_ASSIGN(
        q.scale, filled(site.operation, DType::float32, one, view.number, context.place(x.device)));
  }
  if (!o.azp) return {};
  const TensorView& azp = o.azp_in;
  const bool fits = azp.defined() && azp.dtype == DType::int32 &&
                    (azp.numel() == q.scale.numel()) && azp.rank <= 2;
  if (!fits) {
    return fail(Code::invalid_argument, "{} must be int32 with one element per scale {}; got {} {}",
                site(Arg::azp), shape_string(q.scale.view()), name(azp.dtype), shape_string(azp));
  }
  q.azp = copy(azp, DType::int32, context.stream);
  TensorView shaped = q.azp.view();
  shaped.rank = 2;
  shaped.shape = q.scale.view().shape;
  shaped.strides = {shaped.shape[1], 1};
  q.azp = Tensor::adopt(std::make_shared<Tensor>(q.azp), shaped);
  return {};
}

// What dequantize may be given: callers build a Quantized by hand, from files for example.
Status check_dequantize(const Site& site, const Quantized& q) {
  const TensorView& codes = q.data;
  OCTAVO_TRY(check_tensor(site, Arg::a, codes));
  OCTAVO_TRY(check_tensor(site, Arg::scale_a, q.scale));
  if (codes.rank != 2 || !(is_float8(codes.dtype) || is_integer8(codes.dtype))) {
    return fail(Code::invalid_argument,
                "{} must be 2-D codes of a float8 type, int8 or uint8; got "
                "{} {}",
                site(Arg::a), name(codes.dtype), shape_string(codes));
  }
  if (q.grid.rows < 1 || q.grid.cols < 1) {
    return fail(Code::invalid_argument, "{}: q.grid must have sizes of at least 1; got {} x {}",
                site.operation, q.grid.rows, q.grid.cols);
  }
  if (!in_first_cell(q.row0, q.grid.rows) || !in_first_cell(q.col0, q.grid.cols)) {
    return fail(Code::invalid_argument,
                "{}: q.row0 and q.col0 must lie in the first cell of {} x {}; got {} and {}",
                site.operation, q.grid.rows, q.grid.cols, q.row0, q.col0);
  }
  const std::int64_t down = cells(q.row0 + codes.shape[0], q.grid.rows);
  const std::int64_t across = cells(q.col0 + codes.shape[1], q.grid.cols);
  const auto covers = [&](const TensorView& v) {
    return v.rank == 2 && v.shape[0] == down && v.shape[1] == across;
  };
  const DType scale = q.scale.dtype();
  if (!covers(q.scale) ||
      !(is_wide(scale) || scale == DType::float8_e8m0fnu || scale == DType::float8_e4m3fn)) {
    return fail(Code::invalid_argument, "{} must be a float type [{}, {}] for the grid; got {} {}",
                site(Arg::scale_a), down, across, name(scale), shape_string(q.scale.view()));
  }
  if (!q.azp.defined()) return {};
  OCTAVO_TRY(check_tensor(site, Arg::azp, q.azp));
  if (covers(q.azp) && q.azp.dtype() == DType::int32 && is_integer8(codes.dtype)) return {};
  return fail(Code::invalid_argument,
              "{} must be int32 [{}, {}] beside integer codes; got {} {} beside {}", site(Arg::azp),
              down, across, name(q.azp.dtype()), shape_string(q.azp.view()), name(codes.dtype));
}

Quantized quantize(const TensorView& x, const QuantizeOptions& options,
                   const ExecContext& context) {
  return at_edge(kQuantize, [&] { return run_quantize(x, options, true, context); });
}

Quantized quantize(const TensorView& x, const QuantizeOptions& options, CodeErrors& errors,
                   const ExecContext& context) {
  return at_edge(kQuantize, [&] { return run_measured(x, options, errors, context); });
}

void quantize_into(const TensorView& x, const QuantizeOptions& options, const Quantized& out,
                   const ExecContext& context, const char* backend) {
  at_edge(kQuantize, [&] { return run_quantize_into(x, options, out, context, backend); });
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
    OCTAVO_TRY(check_dequantize({"dequantize", &kDequantizeNames}, q));
    OCTAVO_TRY(check_dtype("dequantize: ", "out_dtype", out_dtype));
    if (!is_wide(out_dtype)) {
      return fail(Code::invalid_argument,
                  "dequantize: out_dtype must be float32, bfloat16 or float16; got {}",
                  name(out_dtype));
    }
    const TensorView& codes = q.data;
    OCTAVO_TRY_ASSIGN(const Tensor out, Tensor::try_empty("dequantize", out_dtype, codes.dims(),
                                                          context.place(codes.device)));
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for("dequantize", codes.device, nullptr));
    const ScaleView scale = Operand(q).scale[0];
    RescaleProblem r;
    r.source = codes;
    r.scales[0] = scale;
    if (q.azp.defined()) {
      r.azp = scale;
      r.azp.data = q.azp.view();
    }
    r.out = out;
    OCTAVO_TRY(backend->passes.rescale(r, context));
    return out;
  });
}

}  // namespace octavo
