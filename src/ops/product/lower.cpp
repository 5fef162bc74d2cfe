// SPDX-License-Identifier: Apache-2.0
// Lowering of single products, and running what was lowered.
#include "ops/product/lower.hpp"

#include "backends/backend.hpp"
#include "core/error.hpp"
#include "core/problem/operand.hpp"
#include "core/scales/grid.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

Status check_matrix(const Site& site, Arg arg, const TensorView& view, const char* dims) {
  OCTAVO_TRY(check_tensor(site, arg, view));
  if (view.rank == 2) return {};
  return fail(Code::invalid_argument, "{}.shape must be 2-D {}; got {}", site(arg), dims,
              shape_string(view));
}

Status check_inner(const Site& site, const Extents& e, std::int64_t b_rows, std::int64_t b_cols) {
  if (e.k == b_rows) return {};
  return fail(Code::invalid_argument, "{}.shape[0] must equal {}.shape[1] = {}; got {}{}",
              site(Arg::b), site.bare(Arg::a), e.k, b_rows,
              b_cols == e.k ? " (for a matrix given as [N, K] say trans_b)" : "");
}

}  // namespace

Result<Lowered> lower_product(const Site& site, const Operand& a, const Operand& b,
                              const ScaledMmOptions& o) {
  Lowered l;
  l.problem.operation = site.operation;
  l.problem.options = o.matmul;
  OCTAVO_TRY(check_chunks(site.operation, o.matmul, Split::none));
  Member& p = l.problem.single;

  OCTAVO_TRY(check_matrix(site, Arg::a, a.data, o.trans_a ? "[K, M]" : "[M, K]"));
  OCTAVO_TRY(check_no_quantizer(site, b));
  Operand left = o.trans_a ? a.transposed() : a;
  Operand right = o.trans_b ? b.transposed() : b;
  if (b.packed != nullptr) {
    if (!b.packed->defined() || o.trans_b) {
      return fail(Code::invalid_argument,
                  "{} must be a packed weight [K, N] without trans_b; got {}", site(Arg::b),
                  o.trans_b ? "trans_b" : "an empty one");
    }
    right.scale = b.packed->content()->scale;
  } else {
    OCTAVO_TRY(check_matrix(site, Arg::b, b.data, o.trans_b ? "[N, K]" : "[K, N]"));
  }
  l.extents = {-1, left.data.shape[0], weight_columns(right), left.data.shape[1]};
  const Extents& e = l.extents;
  OCTAVO_TRY(check_inner(site, e, weight_rows(right), e.n));
  const std::array<std::int64_t, 2> shape{e.m, e.n};
  OCTAVO_TRY(check_padded(site, Arg::out, shape));

  const bool quantized = left.quantize != nullptr;
  if (quantized) {
    OCTAVO_TRY(check_activation_rule(site, left, e.m, e.k, o.matmul.batch_invariant));
    if (o.azp.defined() || o.scale_a.kind() > Scale::Kind::null) {
      return fail(Code::invalid_argument,
                  "{} must be undefined when {} is quantised on the fly (codes bring their own); "
                  "got a value",
                  site(o.azp.defined() ? Arg::azp : Arg::scale_a), site.bare(Arg::a));
    }
  }
  const DType a_dtype = product_dtype(left);
  const DType b_dtype = weight_dtype(b);
  OCTAVO_TRY(check_pair(site, a_dtype, b_dtype));
  OCTAVO_TRY_ASSIGN(l.out_dtype, resolve_out_dtype(site, a_dtype, b_dtype, o.out_dtype));

  OCTAVO_TRY(resolve_scales(site, left, o.scale_a, {.side = Side::a, .rows = e.m, .cols = e.k}));
  OCTAVO_TRY(resolve_scales(site, right, o.scale_b, {.side = Side::b, .rows = e.k, .cols = e.n}));
  const TensorView weight_azp = b.packed != nullptr ? b.packed->content()->azp.view() : right.azp;
  OCTAVO_TRY_ASSIGN(right.azp, resolve_weight_azp(site, weight_azp, right, b_dtype, e.n));
  if (quantized && left.quantize->vectorwise && right.azp.defined()) {
    return fail(Code::unsupported, "{}.azp must be undefined for LLM.int8; got {}", site(Arg::b),
                shape_string(right.azp));
  }
  if (quantized && left.quantize->vectorwise && varies_along_k(right, Side::b)) {
    return fail(Code::unsupported,
                "{}.granularity must be channel or tensor for LLM.int8; got one that "
                "varies along K",
                site(Arg::scale_b));
  }
  OCTAVO_TRY_ASSIGN(left.azp, resolve_azp(site, o.azp, left, a_dtype, b_dtype, e.m));
  p.a = left;
  p.b = right;
  Epilogue& epilogue = p.epilogue;
  OCTAVO_TRY_ASSIGN(epilogue.bias, resolve_bias(site, o.bias, e));
  OCTAVO_TRY_ASSIGN(epilogue.alpha, resolve_factor(site, Arg::alpha, o.alpha, -1));
  OCTAVO_TRY_ASSIGN(epilogue.scale_result,
                    resolve_factor(site, Arg::scale_result, o.scale_result, e.n));
  OCTAVO_TRY(resolve_addend(site, o.beta, o.c, shape, epilogue));
  if (l.out_dtype == DType::int32) OCTAVO_TRY(check_int32_output(site, p));
  if (o.out.defined()) {
    OCTAVO_TRY(check_out(site, o.out, l.out_dtype, shape));
    l.out = o.out;
    p.out = o.out;
    OCTAVO_TRY(check_no_overlap(site, l.problem));
  }
  OCTAVO_TRY(check_one_device(site, p));
  return l;
}

std::array<std::int64_t, 3> out_shape(const Lowered& l, int* rank) noexcept {
  const Extents& e = l.extents;
  const Split split = l.problem.groups.split;
  if (split == Split::inner || split == Split::batch) {
    *rank = 3;
    return {e.g, e.m, e.n};
  }
  *rank = 2;
  return {e.m, e.n, 0};
}

MatmulProblem outlined(const Lowered& l) {
  MatmulProblem problem = l.problem;
  if (l.out.defined()) return problem;
  int rank = 0;
  const std::array<std::int64_t, 3> shape = out_shape(l, &rank);
  TensorView out(nullptr, l.out_dtype, std::span(shape.data(), static_cast<std::size_t>(rank)));
  out.device = problem.single.a.data.device;
  set_output(problem, out);
  return problem;
}

Result<Tensor> run_lowered(Lowered& l, const ExecContext& context, const char* backend) {
  Tensor out = Tensor::adopt(nullptr, l.out);
  if (!out.defined()) {
    int rank = 0;
    const std::array<std::int64_t, 3> shape = out_shape(l, &rank);
    OCTAVO_TRY_ASSIGN(out,
                      Tensor::try_empty(l.problem.operation, l.out_dtype,
                                        std::span(shape.data(), static_cast<std::size_t>(rank)),
                                        context.place(l.problem.single.a.data.device)));
    set_output(l.problem, out);
  }
  OCTAVO_TRY(run_problem(l.problem, context, backend));
  return out;
}

Result<FlatRows> flatten_rows(const char* operation, const TensorView& view,
                              const ExecContext& context) {
  FlatRows flat;
  const std::int64_t last = view.rank > 0 ? view.shape[static_cast<std::size_t>(view.rank - 1)] : 1;
  std::int64_t rows = 1;
  std::int64_t step = 0;
  bool merges = true;
  for (int d = view.rank - 2; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    if (view.shape[i] == 1) continue;
    if (rows == 1) step = view.strides[i];
    if (rows != 1 && view.strides[i] != step * rows) merges = false;
    rows *= view.shape[i];
  }
  flat.view = view;
  if (!merges && rows != 0) {
    OCTAVO_TRY_ASSIGN(flat.copy, converted(operation, view, view.dtype, context));
    flat.view = flat.copy.view();
    step = last;
  }
  const std::int64_t inner =
      view.rank > 0 ? flat.view.strides[static_cast<std::size_t>(view.rank - 1)] : 1;
  flat.view.rank = 2;
  flat.view.shape = {rows, last};
  flat.view.strides = {step, inner};
  return flat;
}

Status FlatOut::finish(const char* operation, const ExecContext& context) const {
  if (!rows.copy.defined()) return {};
  return copy_to(operation, rows.copy, tensor, context.stream);
}

Result<FlatOut> flatten_out(const Site& site, const TensorView& a, std::int64_t n, DType dtype,
                            const TensorView& supplied, const ExecContext& context) {
  std::array<std::int64_t, kMaxRank> shape = a.shape;
  const auto rank = static_cast<std::size_t>(a.rank);
  shape[rank - 1] = n;
  const std::span<const std::int64_t> dims(shape.data(), rank);
  FlatOut out;
  out.tensor = Tensor::adopt(nullptr, supplied);
  if (supplied.defined()) {
    OCTAVO_TRY(check_out(site, supplied, dtype, dims));
  } else {
    OCTAVO_TRY_ASSIGN(out.tensor,
                      Tensor::try_empty(site.operation, dtype, dims, context.place(a.device)));
  }
  OCTAVO_TRY_ASSIGN(out.rows, flatten_rows(site.operation, out.tensor, context));
  return out;
}

}  // namespace octavo
