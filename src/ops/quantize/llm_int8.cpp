// SPDX-License-Identifier: Apache-2.0
// LLM.int8(): products under bitsandbytes' names.
#include "octavo/llm_int8.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "core/data/matrix.hpp"
#include "core/error.hpp"
#include "ops/product/lower.hpp"
#include "ops/quantize/llm_int8.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

// bitsandbytes' names for the arguments of a product.
constexpr ArgNames kCodesNames{.b = "w", .scale_a = "row_absmax", .scale_b = "col_absmax"};
constexpr ArgNames kMixedNames{
    .a = "codes", .b = "w", .scale_a = "row_absmax", .scale_b = "col_absmax"};

// A defined tensor with memory, whatever its name.
Status check_given(const char* operation, const char* argument, const TensorView& v) {
  const ArgNames names = named(argument);
  return check_tensor({operation, &names}, Arg::a, v);
}

Status check_codes(const char* operation, const char* argument, const TensorView& v, int rank) {
  OCTAVO_TRY(check_given(operation, argument, v));
  if (v.dtype == DType::int8 && (rank == 0 ? v.rank >= 1 : v.rank == rank)) {
    return {};
  }
  return fail(Code::invalid_argument, "{}: {} must be int8 {}; got {} {}", operation, argument,
              rank == 0 ? "[..., K]" : "[N, K]", name(v.dtype), shape_string(v));
}

Status check_statistic(const char* operation, const char* argument, const TensorView& v,
                       std::int64_t count) {
  OCTAVO_TRY(check_given(operation, argument, v));
  if (v.dtype == DType::float32 && v.numel() == count && v.contiguous()) return {};
  return fail(Code::invalid_argument, "{}: {} must be float32 with {} elements in a row; got {} {}",
              operation, argument, count, name(v.dtype), shape_string(v));
}

MatrixView as_row(const TensorView& vector) noexcept {
  return matrix_view(vector.data, vector.dtype, 1, vector.numel(), vector.device);
}

// absmax / 127 as the scales of a product.
Result<Tensor> scales_of(const char* operation, const TensorView& absmax,
                         const ExecContext& context) {
  const std::array<std::int64_t, 1> shape{absmax.numel()};
  OCTAVO_TRY_ASSIGN(const Tensor scale, Tensor::try_empty(operation, DType::float32, shape,
                                                          context.place(absmax.device)));
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(operation, absmax.device, nullptr));
  RescaleProblem r;
  r.source = as_row(absmax);
  r.divisor = 127.0F;
  r.out = as_row(scale);
  OCTAVO_TRY(backend->passes.rescale(r, context));
  return scale;
}

// A product of codes [..., K] with w [N, K], lowered; the output keeps A's leading dimensions.
struct CodesProduct {
  Site site;
  FlatRows rows;
  Lowered lowered;
  FlatOut out;
  std::array<Tensor, 2> scales;  // what the problem refers to
};
Result<CodesProduct> product(const Site& site, const TensorView& codes, const TensorView& w,
                             const ScaledMmOptions& options, const TensorView& out,
                             const ExecContext& context) {
  const char* operation = site.operation;
  const std::string name_of_codes = site.bare(Arg::a);
  OCTAVO_TRY(check_codes(operation, name_of_codes.c_str(), codes, 0));
  OCTAVO_TRY(check_codes(operation, "w", w, 2));
  if (w.shape[1] != last_extent(codes)) {
    return fail(Code::invalid_argument, "{}: w.shape must be [N, K = {}] ({} ends in K); got {}",
                operation, last_extent(codes), name_of_codes, shape_string(w));
  }
  CodesProduct p;
  p.site = site;
  OCTAVO_TRY_ASSIGN(p.rows, flatten_rows(operation, codes, context));
  OCTAVO_TRY_ASSIGN(p.lowered, lower_product(site, p.rows.view, w.transposed(), options));
  OCTAVO_TRY_ASSIGN(p.out, flatten_out(site, codes, w.shape[0], p.lowered.out_dtype, out, context));
  p.lowered.problem.single.out = p.out.rows.view;
  return p;
}

Result<Tensor> finish(CodesProduct& p, const TensorView& out, const ExecContext& context) {
  if (out.defined()) OCTAVO_TRY(check_no_overlap(p.site, p.lowered.problem));
  OCTAVO_TRY(run_problem(p.lowered.problem, context, nullptr));
  OCTAVO_TRY(p.out.finish(p.site.operation, context));
  return p.out.tensor;
}

// codes * row_absmax / 127 @ w^T * col_absmax / 127 + bias, lowered; the product keeps its scales.
Result<CodesProduct> scaled_product(const Site& site, const TensorView& codes, const TensorView& w,
                                    const TensorView& row_absmax, const TensorView& col_absmax,
                                    const MixedScaledMmOptions& o, const ExecContext& context) {
  const std::string name_of_codes = site.bare(Arg::a);
  OCTAVO_TRY(check_codes(site.operation, name_of_codes.c_str(), codes, 0));
  OCTAVO_TRY(check_codes(site.operation, "w", w, 2));
  const std::int64_t k = last_extent(codes);
  const std::int64_t m = k > 0 ? codes.numel() / k : row_absmax.numel();
  OCTAVO_TRY(check_statistic(site.operation, "row_absmax", row_absmax, m));
  OCTAVO_TRY(check_statistic(site.operation, "col_absmax", col_absmax, w.shape[0]));
  OCTAVO_TRY_ASSIGN(const Tensor sa, scales_of(site.operation, row_absmax, context));
  OCTAVO_TRY_ASSIGN(const Tensor sb, scales_of(site.operation, col_absmax, context));
  ScaledMmOptions options;
  options.scale_a = {sa, per_token()};
  options.scale_b = {sb, per_channel()};
  options.bias = o.bias;
  options.out_dtype = o.out_dtype;
  OCTAVO_TRY_ASSIGN(CodesProduct p, product(site, codes, w, options, o.out, context));
  p.scales = {sa, sb};
  return p;
}

Status check_originals(const char* operation, const TensorView& a, const TensorView& codes,
                       const TensorView& weight, const TensorView& w) {
  const auto same_shape = [](const TensorView& x, const TensorView& y) {
    return std::equal(x.dims().begin(), x.dims().end(), y.dims().begin(), y.dims().end());
  };
  if (!same_shape(a, codes)) {
    return fail(Code::invalid_argument, "{}: a.shape must be that of codes, {}; got {}", operation,
                shape_string(codes), shape_string(a));
  }
  if (!weight.defined()) return {};
  OCTAVO_TRY(check_given(operation, "original_weight", weight));
  if (same_shape(weight, w) && is_wide(weight.dtype)) return {};
  return fail(Code::invalid_argument,
              "{}: original_weight must be float32, bfloat16 or float16 of w's shape {}; got {} {}",
              operation, shape_string(w), name(weight.dtype), shape_string(weight));
}

}  // namespace

Tensor int8_linear_matmul(const TensorView& a, const TensorView& w, const TensorView& out,
                          const ExecContext& context) {
  constexpr const char* kName = "int8_linear_matmul";
  return at_edge(kName, [&]() -> Result<Tensor> {
    ScaledMmOptions options;
    options.out_dtype = DType::int32;
    OCTAVO_TRY_ASSIGN(CodesProduct p, product({kName, &kCodesNames}, a, w, options, out, context));
    return finish(p, out, context);
  });
}

Tensor int8_mm_dequant(const TensorView& acc, const TensorView& row_absmax,
                       const TensorView& col_absmax, const TensorView& bias, DType out_dtype,
                       const ExecContext& context) {
  constexpr const char* kName = "int8_mm_dequant";
  return at_edge(kName, [&]() -> Result<Tensor> {
    OCTAVO_TRY(check_given(kName, "acc", acc));
    if (acc.dtype != DType::int32 || acc.rank < 1 || !is_wide(out_dtype)) {
      return fail(Code::invalid_argument,
                  "{}: acc must be int32 [..., N] and out_dtype a float type; got {} {} and {}",
                  kName, name(acc.dtype), shape_string(acc), name(out_dtype));
    }
    OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kName, acc, context));
    const std::int64_t m = rows.view.shape[0];
    const std::int64_t n = rows.view.shape[1];
    OCTAVO_TRY(check_statistic(kName, "row_absmax", row_absmax, m));
    OCTAVO_TRY(check_statistic(kName, "col_absmax", col_absmax, n));
    OCTAVO_TRY_ASSIGN(const TensorView b, resolve_bias({kName}, bias, {-1, m, n, 0}));
    OCTAVO_TRY_ASSIGN(const Tensor sa, scales_of(kName, row_absmax, context));
    OCTAVO_TRY_ASSIGN(const Tensor sb, scales_of(kName, col_absmax, context));
    OCTAVO_TRY_ASSIGN(const Tensor out,
                      Tensor::try_empty(kName, out_dtype, acc.dims(), context.place(acc.device)));
    FinishProblem f;
    f.sums = rows.view;
    f.product.a.data = rows.view;
    f.product.a.scale[0] = {ScaleKind::tensor, 1.0F, as_column(sa), 1, kWholeExtent, 0, 0};
    f.product.b.scale[0] = {ScaleKind::tensor, 1.0F, as_row(sb), kWholeExtent, 1, 0, 0};
    f.product.epilogue.bias = b;
    f.product.out = matrix_view(out.data(), out_dtype, m, n, acc.device);
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kName, acc.device, nullptr));
    OCTAVO_TRY(backend->passes.finish(f, context));
    return out;
  });
}

Tensor int8_scaled_mm(const TensorView& a, const TensorView& w, const TensorView& row_absmax,
                      const TensorView& col_absmax, const TensorView& bias, DType out_dtype,
                      const ExecContext& context) {
  constexpr const char* kName = "int8_scaled_mm";
  return at_edge(kName, [&]() -> Result<Tensor> {
    OCTAVO_TRY_ASSIGN(CodesProduct p,
                      scaled_product({kName, &kCodesNames}, a, w, row_absmax, col_absmax,
                                     {.bias = bias, .out_dtype = out_dtype}, context));
    return finish(p, {}, context);
  });
}

Tensor int8_mixed_scaled_mm(const TensorView& a, const TensorView& codes, const TensorView& w,
                            const TensorView& row_absmax, const TensorView& col_absmax,
                            const MixedScaledMmOptions& o, const ExecContext& context) {
  constexpr const char* kName = "int8_mixed_scaled_mm";
  return at_edge(kName, [&]() -> Result<Tensor> {
    MixedScaledMmOptions own = o;
    if (own.out_dtype == DType::undefined) own.out_dtype = a.dtype;
    OCTAVO_TRY_ASSIGN(CodesProduct p, scaled_product({kName, &kMixedNames}, codes, w, row_absmax,
                                                     col_absmax, own, context));
    FlatRows original;
    if (o.outlier_cols.defined() && o.outlier_cols.numel() > 0) {
      OCTAVO_TRY(check_activations(kName, a));
      OCTAVO_TRY(check_columns(kName, "outlier_cols", o.outlier_cols, last_extent(codes), "a"));
      for (const auto& [word, view] :
           {std::pair{"a", &a}, std::pair{"outlier_cols", &o.outlier_cols},
            std::pair{"original_weight", &o.original_weight}}) {
        if (!view->defined()) continue;
        OCTAVO_TRY(check_device_of(fmt::format("{}: {}", kName, word), view->device, "codes",
                                   codes.device));
      }
      OCTAVO_TRY(check_originals(kName, a, codes, o.original_weight, w));
      OCTAVO_TRY_ASSIGN(original, flatten_rows(kName, a, context));
      Outliers& outliers = p.lowered.problem.single.epilogue.outliers;
      outliers.a = original.view;
      outliers.columns = o.outlier_cols;
      if (o.original_weight.defined()) outliers.weight = o.original_weight.transposed();
    }
    return finish(p, o.out, context);
  });
}

Quantized int8_rows(const TensorView& codes, const TensorView& row_absmax) {
  constexpr const char* kName = "int8_rows";
  return at_edge(kName, [&]() -> Result<Quantized> {
    OCTAVO_TRY(check_codes(kName, "codes", codes, 2));
    OCTAVO_TRY(check_statistic(kName, "row_absmax", row_absmax, codes.shape[0]));
    OCTAVO_TRY_ASSIGN(const Tensor scale, scales_of(kName, row_absmax, {}));
    Quantized q;
    q.data = Tensor::adopt(nullptr, codes);
    q.scale = Tensor::adopt(std::make_shared<Tensor>(scale), as_column(scale));
    q.grid = {1, kWholeExtent};
    return q;
  });
}

Tensor int8_vectorwise_dequant(const TensorView& codes, const TensorView& row_absmax,
                               const ExecContext& context) {
  constexpr const char* kName = "int8_vectorwise_dequant";
  return at_edge(kName, [&]() -> Result<Tensor> {
    OCTAVO_TRY(check_codes(kName, "codes", codes, 0));
    OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(kName, codes, context));
    OCTAVO_TRY(check_statistic(kName, "row_absmax", row_absmax, rows.view.shape[0]));
    OCTAVO_TRY_ASSIGN(const Tensor scale, scales_of(kName, row_absmax, context));
    OCTAVO_TRY_ASSIGN(const Tensor out, Tensor::try_empty(kName, DType::float32, codes.dims(),
                                                          context.place(codes.device)));
    OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(kName, codes.device, nullptr));
    RescaleProblem r;
    r.source = rows.view;
    r.scales[0] = {ScaleKind::tensor, 1.0F, as_column(scale), 1, kWholeExtent, 0, 0};
    r.out = matrix_view(out.data(), DType::float32, rows.view.shape[0], rows.view.shape[1],
                        codes.device);
    OCTAVO_TRY(backend->passes.rescale(r, context));
    return out;
  });
}

}  // namespace octavo
