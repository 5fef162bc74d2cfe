// SPDX-License-Identifier: Apache-2.0
// Stand-ins, and members with places for their gradients.
#include "ops/gradients/vjp_arguments.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "core/error.hpp"
#include "core/problem/members.hpp"
#include "core/problem/operand.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

Status fill_zero(const VjpMemory& memory, const Tensor& t) {
  return fill_with(memory.operation, t, 0.0F, memory.place.stream);
}

Status missing(const Site& site, Arg arg) {
  return fail(Code::invalid_argument, "{} must be given where its gradient is wanted; got none",
              site(arg));
}

Status put_scale(const Site& site, Arg arg, const VjpMemory& memory, bool optional, Scale& scale,
                 CarriedScale* carried, StandIn& stand_in) {
  if (scale.kind() == Scale::Kind::tensor) {
    OCTAVO_TRY(stand_in.make(memory, scale.values()));
    scale = Scale(stand_in.argument(), scale.granularity());
    return {};
  }
  const bool follows = scale.kind() == Scale::Kind::undefined && carried != nullptr;
  if (follows && carried->kind == ScaleKind::tensor) {
    OCTAVO_TRY(stand_in.make(memory, carried->data));
    carried->data = stand_in.argument();
    return {};
  }
  if (scale.kind() == Scale::Kind::number || (follows && carried->present())) {
    OCTAVO_TRY(stand_in.make_number(memory));
    scale = Scale(stand_in.argument());
    return {};
  }
  return optional ? Status{} : missing(site, arg);
}

// The extent that the offsets cut, less what they cover.
std::int64_t uncovered(const MatmulProblem& p) noexcept {
  std::int64_t rest = 0;
  const Split split = p.groups.split;
  const auto extent = [split](const Member& m) {
    if (split == Split::rows) return m.a.data.shape[0];
    return split == Split::columns ? m.b.data.shape[1] : m.a.data.shape[1];
  };
  if (split != Split::rows && split != Split::columns && split != Split::inner) return 0;
  rest = extent(p.single);
  for (std::int64_t g = 0; g < group_count(p); ++g) rest -= extent(member(p, g));
  return rest;
}

}  // namespace

Result<Tensor> empty_like(const VjpMemory& memory, const TensorView& like, DType dtype) {
  const auto rank = static_cast<std::size_t>(like.rank);
  std::array<std::size_t, kMaxRank> order{};
  for (std::size_t d = 0; d < rank; ++d) order[d] = d;
  // Dimensions that say nothing about the order keep their places.
  const auto orders = [&](std::size_t d) { return like.shape[d] > 1 && like.strides[d] != 0; };
  for (std::size_t x = 0; x < rank; ++x) {
    for (std::size_t y = x + 1; y < rank; ++y) {
      if (!orders(order[x]) || !orders(order[y])) continue;
      const bool inner = std::abs(like.strides[order[x]]) < std::abs(like.strides[order[y]]);
      if (inner) std::swap(order[x], order[y]);
    }
  }
  std::array<std::int64_t, kMaxRank> shape{};
  for (std::size_t d = 0; d < rank; ++d) shape[d] = like.shape[order[d]];
  OCTAVO_TRY_ASSIGN(
      const Tensor tensor,
      Tensor::try_empty(memory.operation, dtype, std::span(shape.data(), rank), memory.place));
  TensorView view = tensor.view();
  for (std::size_t d = 0; d < rank; ++d) {
    view.shape[order[d]] = tensor.view().shape[d];
    view.strides[order[d]] = tensor.view().strides[d];
  }
  return Tensor::adopt(std::make_shared<Tensor>(tensor), view);
}

Status StandIn::make(const VjpMemory& memory, const TensorView& argument) {
  OCTAVO_TRY_ASSIGN(sums_, empty_like(memory, argument, DType::float64));
  OCTAVO_TRY(fill_zero(memory, sums_));
  argument_ = sums_.view();
  argument_.dtype = argument.dtype;
  return {};
}

Status StandIn::make_number(const VjpMemory& memory) {
  TensorView number;
  number.dtype = DType::float32;
  return make(memory, number);
}

Elements StandIn::place(const Elements& cut) const noexcept {
  Elements at = cut;
  const auto bytes = static_cast<const char*>(cut.data) - static_cast<const char*>(argument_.data);
  at.dtype = DType::float64;
  at.data = sums_.view().at(bytes / element_bytes(argument_.dtype));
  return at;
}

ScaleView StandIn::cells(const ScaleView& cut) const noexcept {
  if (!wanted()) return {};
  ScaleView s = cut;
  s.data = place(cut.data);
  return s;
}

ScaleView StandIn::cells(const Elements& cut) const noexcept {
  const auto cell = [&](std::size_t d) { return cut.strides[d] == 0 ? kWholeExtent : 1; };
  return cells({ScaleKind::tensor, 1.0F, cut, cell(0), cell(1), 0, 0});
}

Result<Tensor> StandIn::round(const VjpMemory& memory) const {
  if (!wanted()) return Tensor();
  OCTAVO_TRY_ASSIGN(const Tensor rounded, empty_like(memory, sums_, DType::float32));
  OCTAVO_TRY(copy_to(memory.operation, sums_, rounded, memory.place.stream));
  return rounded;
}

Status put_stand_ins(const Site& site, const VjpMemory& memory, const MatmulWanted& wanted,
                     bool optional, const VjpArguments& x, StandIns& s) {
  const struct {
    bool wanted;
    Arg arg;
    Scale& scale;
    CarriedScale* carried;
    StandIn& stand_in;
  } rows[] = {
      {wanted.scale_a, Arg::scale_a, x.scale_a, x.a.scale.data(), s.scale_a},
      {wanted.scale_b, Arg::scale_b, x.scale_b, x.b.scale.data(), s.scale_b},
      {wanted.alpha, Arg::alpha, x.alpha, nullptr, s.alpha},
      {wanted.beta, Arg::beta, x.beta, nullptr, s.beta},
      {wanted.scale_result, Arg::scale_result, x.scale_result, nullptr, s.scale_result},
  };
  for (const auto& row : rows) {
    if (!row.wanted) continue;
    OCTAVO_TRY(put_scale(site, row.arg, memory, optional, row.scale, row.carried, row.stand_in));
  }
  if (!wanted.bias) return {};
  if (!x.bias.defined()) return optional ? Status{} : missing(site, Arg::bias);
  OCTAVO_TRY(s.bias.make(memory, x.bias));
  x.bias = s.bias.argument();
  return {};
}

Status check_grad(const Site& site, const TensorView& grad, std::span<const std::int64_t> shape) {
  OCTAVO_TRY(check_float(site, Arg::grad, grad));
  const std::span<const std::int64_t> got = grad.dims();
  if (std::equal(got.begin(), got.end(), shape.begin(), shape.end())) return {};
  return fail(Code::invalid_argument, "{}.shape must be that of the result, [{}]; got {}",
              site(Arg::grad), fmt::join(shape, ", "), shape_string(grad));
}

Status check_gradient_options(const char* operation, const GradientOptions& options) {
  if (options.dtype == DType::undefined || is_wide(options.dtype)) return {};
  return fail(Code::invalid_argument,
              "{}: options.dtype must be float32, bfloat16 or float16; got {}", operation,
              name(options.dtype));
}

DType gradient_dtype(const GradientOptions& options, DType argument, DType grad) noexcept {
  if (options.dtype != DType::undefined) return options.dtype;
  return is_wide(argument) ? argument : grad;
}

Status add_members(const Site& site, const VjpMemory& memory, const MatmulWanted& wanted,
                   const GradientOptions& options, const TensorView& a, const TensorView& b,
                   const TensorView& c, const MatmulProblem& lowered, VjpEntry& entry,
                   std::vector<VjpMember>& members) {
  const TensorView& grad = entry.grad.view;
  MatmulGradients& d = entry.gradients;
  MatmulProblem shadow = lowered;
  MatmulProblem addend = lowered;
  set_output(shadow, grad);
  if (wanted.a) {
    const DType dtype = gradient_dtype(options, a.dtype, grad.dtype);
    const bool matrix = a.rank == 2 || lowered.groups.split != Split::none;
    OCTAVO_TRY_ASSIGN(d.a,
                      matrix ? empty_like(memory, a, dtype)
                             : Tensor::try_empty(memory.operation, dtype, a.dims(), memory.place));
    TensorView whole = d.a;
    if (!matrix) {
      OCTAVO_TRY_ASSIGN(const FlatRows rows, flatten_rows(memory.operation, whole, {}));
      whole = rows.view;
    }
    shadow.single.a.data = entry.transposed_a ? whole.transposed() : whole;
    shadow.groups.steps.a = group_step(whole);
  }
  if (wanted.b) {
    OCTAVO_TRY_ASSIGN(d.b, empty_like(memory, b, gradient_dtype(options, b.dtype, grad.dtype)));
    shadow.single.b.data = entry.transposed_b ? d.b.view().transposed() : d.b.view();
    shadow.groups.steps.b = group_step(d.b);
  }
  if (wanted.c && !c.defined()) return missing(site, Arg::c);
  if (wanted.c) {
    OCTAVO_TRY_ASSIGN(d.c, empty_like(memory, c, gradient_dtype(options, c.dtype, grad.dtype)));
    set_output(addend, d.c);
  }
  if (uncovered(shadow) > 0) {
    for (const Tensor* t : {&d.a, &d.b, &d.c}) {
      if (t->defined()) OCTAVO_TRY(fill_zero(memory, *t));
    }
  }
  const MatmulProblem& forward = entry.forward.problem;
  const StandIns& s = entry.stand_ins;
  for (std::int64_t g = 0; g < group_count(forward); ++g) {
    const Member part = member(shadow, g);
    VjpMember m;
    m.forward = member(forward, g);
    m.out_dtype = entry.forward.out_dtype;
    m.a = m.forward.a;
    m.b = m.forward.b;
    if (azp_by_cells(m.b)) {
      return fail(Code::unsupported,
                  "{}.azp must be one element, [N] or [1, N] where gradients are wanted; got {}",
                  site(Arg::b), shape_string(static_cast<TensorView>(m.b.azp)));
    }
    m.grad = part.out;
    m.c = {part.epilogue.c, part.out.shape[0], part.out.shape[1]};
    if (wanted.a) m.grad_a = part.a.data;
    if (wanted.b) m.grad_b = part.b.data;
    if (wanted.c) m.grad_c = member(addend, g).out;
    m.scale_a = s.scale_a.cells(part.a.scale[0]);
    m.scale_b = s.scale_b.cells(part.b.scale[0]);
    m.bias = s.bias.cells(part.epilogue.bias);
    m.scale_result = s.scale_result.cells(part.epilogue.scale_result.data);
    m.alpha = s.alpha.cells(part.epilogue.alpha.data);
    m.beta = s.beta.cells(part.epilogue.beta.data);
    members.push_back(m);
  }
  return {};
}

Status finish_gradients(const VjpMemory& memory, VjpEntry& entry) {
  const StandIns& s = entry.stand_ins;
  MatmulGradients& d = entry.gradients;
  for (const auto& [stand_in, gradient] :
       {std::pair{&s.scale_a, &d.scale_a}, std::pair{&s.scale_b, &d.scale_b},
        std::pair{&s.bias, &d.bias}, std::pair{&s.alpha, &d.alpha}, std::pair{&s.beta, &d.beta},
        std::pair{&s.scale_result, &d.scale_result}}) {
    OCTAVO_TRY_ASSIGN(*gradient, stand_in->round(memory));
  }
  return {};
}

}  // namespace octavo
