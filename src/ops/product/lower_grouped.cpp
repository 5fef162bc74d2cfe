// SPDX-License-Identifier: Apache-2.0
// Lowering of the four tensor forms.
#include <algorithm>

#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/scales/grid.hpp"
#include "ops/product/lower.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

// The forms by the ranks of A and B.
struct Form {
  int rank_a, rank_b;
  Split split;
  const char* cut;  // what the offsets cut, in words
};
constexpr std::array<Form, 4> kForms{{
    {2, 3, Split::rows, "the rows of"},
    {3, 2, Split::columns, "the columns of"},
    {2, 2, Split::inner, "the inner dimension of"},
    {3, 3, Split::batch, nullptr},
}};

Result<Form> form_of(const Site& site, const TensorView& a, const TensorView& b) {
  for (const Form& form : kForms) {
    if (form.rank_a == a.rank && form.rank_b == b.rank) return form;
  }
  return fail(Code::invalid_argument, "{}: {} and {} must be 2-D or 3-D; got {} and {}",
              site.operation, site.bare(Arg::a), site.bare(Arg::b), shape_string(a),
              shape_string(b));
}

Result<Extents> extents_of(const Site& site, const Form& form, const TensorView& a,
                           const TensorView& b, const GroupedOptions& o) {
  Extents e;
  const auto a_last = static_cast<std::size_t>(a.rank - 1);
  const auto b_last = static_cast<std::size_t>(b.rank - 1);
  e.m = a.shape[a_last - 1];
  e.k = a.shape[a_last];
  e.n = b.shape[b_last];
  if (b.shape[b_last - 1] != e.k) {
    return fail(Code::invalid_argument, "{}.shape[{}] must equal {}.shape[{}] = {}; got {}",
                site(Arg::b), b_last - 1, site.bare(Arg::a), a_last, e.k, b.shape[b_last - 1]);
  }
  const std::int64_t lengths = o.offs.defined() && o.offs.rank == 1 ? o.offs.shape[0] : 0;
  switch (form.split) {
    case Split::rows:
      e.g = b.shape[0];
      break;
    case Split::columns:
      e.g = a.shape[0];
      break;
    case Split::inner:
      e.g = std::max<std::int64_t>(0, lengths - (o.offs_prefix ? 1 : 0));
      break;
    default:
      e.g = a.shape[0];
      if (b.shape[0] != e.g) {
        return fail(Code::invalid_argument, "{}.shape[0] must equal {}.shape[0] = {}; got {}",
                    site(Arg::b), site.bare(Arg::a), e.g, b.shape[0]);
      }
  }
  return e;
}

Status check_offsets(const Site& site, const TensorView& offs) {
  OCTAVO_TRY(check_tensor(site, Arg::offs, offs));
  if (offs.dtype == DType::int32 || offs.dtype == DType::int64) return {};
  return fail(Code::invalid_argument, "{}.dtype must be int32 or int64; got {}", site(Arg::offs),
              name(offs.dtype));
}

// A call looks at every group; so many take seconds.
constexpr std::int64_t kMostGroups = std::int64_t{1} << 24;

// Offsets on the host are validated; those of a device are never read here, and kernels clamp all.
Status check_offs(const Site& site, const Form& form, const GroupedOptions& o, const Extents& e,
                  const ExecContext& context, Tensor& offs) {
  if (form.split == Split::batch) {
    if (!o.offs.defined()) return {};
    return fail(Code::invalid_argument, "{} must be undefined for two 3-D operands; got {}",
                site(Arg::offs), shape_string(o.offs));
  }
  if (!o.offs.defined()) {
    return fail(
        Code::invalid_argument, "{} must be given when an operand is 2-D (it cuts {} {}); got none",
        site(Arg::offs), form.cut, site.bare(form.split == Split::columns ? Arg::b : Arg::a));
  }
  OCTAVO_TRY_ASSIGN(offs, read_offsets(site, o.offs, context));
  const std::int64_t length = e.g + (o.offs_prefix ? 1 : 0);
  if (o.offs.rank != 1 || o.offs.shape[0] != length) {
    return fail(Code::invalid_argument, "{}.shape must be [{}] ({}); got {}", site(Arg::offs),
                length, o.offs_prefix ? "a prefix: one more than groups" : "one end per group",
                shape_string(o.offs));
  }
  const std::int64_t extent = form.split == Split::rows      ? e.m
                              : form.split == Split::columns ? e.n
                                                             : e.k;
  if (!on_host(offs)) return {};
  const auto* ends = offs.data_as<std::int64_t>();
  std::int64_t previous = 0;
  for (std::int64_t i = 0; i < length; ++i) {
    const std::int64_t end = ends[i];
    if (o.offs_prefix && i == 0 && end != 0) {
      return fail(Code::invalid_argument, "{}[0] of a prefix must be 0; got {}", site(Arg::offs),
                  end);
    }
    if (end < previous || end > extent) {
      return fail(Code::invalid_argument, "{}[{}] must be in [{}, {}] (cumulative ends); got {}",
                  site(Arg::offs), i, previous, extent, end);
    }
    previous = end;
  }
  return {};
}

// Plans know where groups begin in K, not where a slice does in the first cell of its scales.
Status check_starts(const Site& site, Arg arg, const Operand& operand, Side side) {
  for (const CarriedScale& scale : operand.scale) {
    const std::int64_t origin = side == Side::a ? scale.col0 : scale.row0;
    if (!varies_along_k(scale, side) || origin == 0) continue;
    return fail(Code::unsupported,
                "{} carried by the operand must begin with a cell where offsets cut K; got element "
                "{} of one",
                site(arg), origin);
  }
  return {};
}

}  // namespace

Result<Tensor> host_offsets(const Site& site, const TensorView& offs, const ExecContext& context) {
  OCTAVO_TRY(check_offsets(site, offs));
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> values,
                    integers_of(site.operation, offs, context.stream));
  OCTAVO_TRY_ASSIGN(Tensor own, Tensor::try_empty(site.operation, DType::int64, offs.dims(), {}));
  std::copy(values.begin(), values.end(), own.data_as<std::int64_t>());
  return own;
}

Result<Tensor> read_offsets(const Site& site, const TensorView& offs, const ExecContext& context) {
  OCTAVO_TRY(check_offsets(site, offs));
  return converted(site.operation, offs, DType::int64, context);
}

Result<Lowered> lower_grouped(const Site& site, const Operand& a, const Operand& b,
                              const GroupedOptions& o, ScaleReading reading,
                              const ExecContext& context) {
  Lowered l;
  l.problem.operation = site.operation;
  l.problem.options = o.matmul;
  Member& p = l.problem.single;
  OCTAVO_TRY(check_tensor(site, Arg::a, a.data));
  if (b.packed != nullptr) {
    return fail(Code::unsupported, "{} must be a tensor in a grouped product; got a packed weight",
                site(Arg::b));
  }
  OCTAVO_TRY(check_tensor(site, Arg::b, b.data));
  OCTAVO_TRY_ASSIGN(const Form form, form_of(site, a.data, b.data));
  OCTAVO_TRY(check_chunks(site.operation, o.matmul, form.split));
  OCTAVO_TRY_ASSIGN(l.extents, extents_of(site, form, a.data, b.data, o));
  const Extents& e = l.extents;
  const std::array<std::int64_t, 3> out_extents{e.g, e.m, e.n};
  OCTAVO_TRY(check_padded(site, Arg::out, out_extents));
  if (e.g > kMostGroups) {
    return fail(Code::unsupported, "{}: groups must be at most {}; got {}", site.operation,
                kMostGroups, e.g);
  }
  OCTAVO_TRY(check_offs(site, form, o, e, context, l.offs));
  Groups& groups = l.problem.groups;
  groups.split = form.split;
  groups.count = e.g;
  groups.offs = l.offs.view();
  groups.prefix = o.offs_prefix;
  p.a.data = a.data;
  p.b.data = b.data;
  if (on_host(l.offs)) groups.start_alignment = start_alignment(l.problem);

  const DType a_dtype = a.data.dtype;
  const DType b_dtype = b.data.dtype;
  OCTAVO_TRY(check_pair(site, a_dtype, b_dtype));
  OCTAVO_TRY_ASSIGN(l.out_dtype, resolve_out_dtype(site, a_dtype, b_dtype, o.out_dtype));
  const bool inner = form.split == Split::inner;
  Operand left = a;
  Operand right = b;
  OCTAVO_TRY(resolve_scales(site, left, o.scale_a,
                            {.side = Side::a,
                             .rows = e.m,
                             .cols = e.k,
                             .groups = e.g,
                             .operand_3d = form.rank_a == 3,
                             .inner_split = inner,
                             .reading = reading}));
  OCTAVO_TRY(resolve_scales(site, right, o.scale_b,
                            {.side = Side::b,
                             .rows = e.k,
                             .cols = e.n,
                             .groups = e.g,
                             .operand_3d = form.rank_b == 3,
                             .inner_split = inner,
                             .reading = reading}));
  if (inner) {
    OCTAVO_TRY(check_starts(site, Arg::scale_a, left, Side::a));
    OCTAVO_TRY(check_starts(site, Arg::scale_b, right, Side::b));
  }
  OCTAVO_TRY(check_zero_points(site, b));
  OCTAVO_TRY(check_no_quantizer(site, b));
  if (a.quantize != nullptr) {
    return fail(Code::unsupported,
                "{} must be quantised before a grouped tensor form; got a fused quantiser",
                site(Arg::a));
  }
  if (a.azp.defined() && form.rank_a == 3) {
    return fail(Code::unsupported, "{} must be undefined for a 3-D operand; got {}", site(Arg::azp),
                shape_string(a.azp));
  }
  OCTAVO_TRY_ASSIGN(left.azp, resolve_azp(site, {}, left, a_dtype, b_dtype, e.m));
  p.a = left;
  p.b = right;
  GroupSteps& steps = groups.steps;
  steps.a = group_step(a.data);
  steps.b = group_step(b.data);
  for (std::size_t i = 0; i < 2; ++i) {
    steps.scale_a[i] = group_step(left.scale[i].data);
    steps.scale_b[i] = group_step(right.scale[i].data);
  }
  Extents bias_extents = e;
  if (form.split == Split::columns) bias_extents.g = -1;
  OCTAVO_TRY_ASSIGN(p.epilogue.bias, resolve_bias(site, o.bias, bias_extents));
  if (bias_extents.g >= 0) std::swap(steps.bias, p.epilogue.bias.strides[0]);  // a row of [G, N]
  OCTAVO_TRY_ASSIGN(p.epilogue.alpha, resolve_factor(site, Arg::alpha, o.alpha, -1));
  OCTAVO_TRY_ASSIGN(p.epilogue.scale_result,
                    resolve_factor(site, Arg::scale_result, o.scale_result, e.n));
  int rank = 0;
  const std::array<std::int64_t, 3> whole = out_shape(l, &rank);
  const std::span shape(whole.data(), static_cast<std::size_t>(rank));
  OCTAVO_TRY(resolve_addend(site, o.beta, o.c, shape, p.epilogue));
  if (p.epilogue.c.defined()) steps.c = group_step(o.c);
  if (l.out_dtype == DType::int32) OCTAVO_TRY(check_int32_output(site, p));
  if (o.out.defined()) {
    OCTAVO_TRY(check_out(site, o.out, l.out_dtype, shape));
    l.out = o.out;
    set_output(l.problem, o.out);
    OCTAVO_TRY(check_no_overlap(site, l.problem));
  }
  OCTAVO_TRY(check_one_device(site, p));
  return l;
}

}  // namespace octavo
