// SPDX-License-Identifier: Apache-2.0
// Cutting a grouped problem into its members.
#include "octavo/problem.hpp"

#include <algorithm>

#include "core/data/element.hpp"
#include "core/problem/members.hpp"
#include "octavo/packed.hpp"

namespace octavo {
namespace {

struct OffsetRange {
  std::int64_t begin, end;
};

std::int64_t offset_at(const TensorView& offs, std::int64_t i) noexcept {
  return load_int(offs.dtype, offs.data, i * offs.strides[0]);
}

// Group g's part of the dimension that the offsets cut, inside [0, extent] whatever they say.
OffsetRange cut(const MatmulProblem& p, std::int64_t g) noexcept {
  const std::int64_t extent = cut_extent(p);
  const TensorView& offs = p.groups.offs;
  const std::int64_t first = p.groups.prefix ? offset_at(offs, g)
                             : g > 0         ? offset_at(offs, g - 1)
                                             : 0;
  const std::int64_t last = offset_at(offs, p.groups.prefix ? g + 1 : g);
  const std::int64_t begin = std::clamp<std::int64_t>(first, 0, extent);
  return {begin, std::clamp(last, begin, extent)};
}

template <class T>
void advance(T& matrix, std::int64_t elements) noexcept {
  matrix.data = matrix.at(elements);
}

void advance(OperandView& operand, std::int64_t g, std::int64_t step,
             const std::array<std::int64_t, 2>& scale_steps) noexcept {
  advance(operand.data, g * step);
  for (std::size_t i = 0; i < 2; ++i) advance(operand.scale[i].data, g * scale_steps[i]);
}

// Scales count from row `row` and column `col` of the uncut operand. Those that a group of what is
// cut has for itself do not change along the cut.
void cut_scales(OperandView& operand, std::int64_t row, std::int64_t col) noexcept {
  for (ScaleView& scale : operand.scale) {
    if (scale.kind == ScaleKind::tensor) scale = scale.shifted(row, col);
  }
}

// Group g of a tensor form, of this range of what is cut.
Member part_of(const MatmulProblem& p, std::int64_t g, OffsetRange range) noexcept {
  const auto [begin, end] = range;
  const GroupSteps& steps = p.groups.steps;
  Member part = p.single;
  MatrixView& a = part.a.data;
  MatrixView& b = part.b.data;
  Epilogue& e = part.epilogue;
  advance(part.a, g, steps.a, steps.scale_a);
  advance(part.b, g, steps.b, steps.scale_b);
  advance(e.c, g * steps.c);
  advance(e.bias, g * steps.bias);
  advance(part.out, g * steps.out);
  switch (p.groups.split) {
    case Split::rows:
      a = a.slice(0, begin, end);
      part.out = part.out.slice(0, begin, end);
      e.c = e.c.from(begin, 0);
      part.a.azp = part.a.azp.slice(0, begin, end);
      cut_scales(part.a, begin, 0);
      break;
    case Split::columns:
      b = b.slice(1, begin, end);
      part.out = part.out.slice(1, begin, end);
      e.c = e.c.from(0, begin);
      e.bias = e.bias.from(0, begin);
      e.scale_result.data = e.scale_result.data.from(0, begin);
      cut_scales(part.b, 0, begin);
      break;
    case Split::inner:
      cut_inner(part, begin, end);
      break;
    default:
      break;
  }
  return part;
}

template <class T>
T turned(const T& operand) noexcept {
  T t = operand;
  t.data = operand.data.transposed();
  for (auto& scale : t.scale) scale = scale.transposed();
  t.azp = operand.azp.transposed();
  return t;
}

}  // namespace

Operand::Operand(const Quantized& quantized) {
  data = quantized.data.view();
  azp = quantized.azp.view();
  if (!quantized.scale.defined()) return;
  scale[0] = {ScaleKind::tensor,   1.0F,           quantized.scale, quantized.grid.rows,
              quantized.grid.cols, quantized.row0, quantized.col0};
}

OperandView::OperandView(const Operand& operand) noexcept
    : OperandOf<MatrixView, Elements>{operand.data,
                                      {{operand.scale[0], operand.scale[1]}},
                                      operand.azp,
                                      operand.packed,
                                      operand.quantize} {}

Operand Operand::transposed() const noexcept { return turned(*this); }
OperandView OperandView::transposed() const noexcept { return turned(*this); }

std::int64_t group_count(const MatmulProblem& p) noexcept {
  switch (p.groups.split) {
    case Split::none:
      return 1;
    case Split::list:
      return static_cast<std::int64_t>(p.groups.list.size());
    default:
      return p.groups.count;
  }
}

std::int64_t cut_extent(const MatmulProblem& p) noexcept {
  const Member& s = p.single;
  switch (p.groups.split) {
    case Split::rows:
      return s.a.data.shape[0];
    case Split::columns:
      return s.b.data.shape[1];
    default:
      return s.a.data.shape[1];
  }
}

Member member(const MatmulProblem& p, std::int64_t g) noexcept {
  const Split split = p.groups.split;
  if (split == Split::none) return p.single;
  if (split == Split::list) return p.groups.list[static_cast<std::size_t>(g)];
  return part_of(p, g, split == Split::batch ? OffsetRange{0, 0} : cut(p, g));
}

std::int64_t start_alignment(const MatmulProblem& p) noexcept {
  if (p.groups.split != Split::inner) return 1;  // a plan does not ask for it
  constexpr std::uint64_t kMost = 64;
  std::uint64_t all = kMost;
  const std::int64_t groups = p.groups.offs.defined() ? group_count(p) : 0;
  for (std::int64_t g = 0; g < groups; ++g) all |= static_cast<std::uint64_t>(cut(p, g).begin);
  return static_cast<std::int64_t>(all & -all);
}

void cut_inner(Member& p, std::int64_t begin, std::int64_t end) noexcept {
  p.a.data = p.a.data.slice(1, begin, end);
  p.b.data = p.b.data.slice(0, begin, end);
  cut_scales(p.a, 0, begin);
  cut_scales(p.b, begin, 0);
}

Member cut_to(const MatmulProblem& p, std::int64_t extent) noexcept {
  const std::int64_t begin = p.groups.split == Split::inner ? p.groups.start_alignment : 0;
  return part_of(p, 0, {begin, begin + extent});
}

MatrixView tail(const MatmulProblem& p) noexcept {
  const Split split = p.groups.split;
  if (split != Split::rows && split != Split::columns) return {};
  const std::int64_t groups = group_count(p);
  const std::int64_t extent = cut_extent(p);
  const std::int64_t last = groups > 0 ? cut(p, groups - 1).end : 0;
  if (last == extent || !p.single.out.defined()) return {};
  return p.single.out.slice(split == Split::rows ? 0 : 1, last, extent);
}

TensorView stacked(const MatrixView& matrix, const Groups& groups, std::int64_t step) noexcept {
  auto view = static_cast<TensorView>(matrix);
  if (!view.defined()) return view;
  view.rank = 3;
  view.shape = {groups.count, matrix.shape[0], matrix.shape[1]};
  view.strides = {step, matrix.strides[0], matrix.strides[1]};
  return view;
}

TensorView output(const MatmulProblem& p) noexcept {
  return has_own_outputs(p) ? stacked(p.single.out, p.groups, p.groups.steps.out)
                            : static_cast<TensorView>(p.single.out);
}

void set_output(MatmulProblem& p, const TensorView& out) noexcept {
  p.single.out = out;
  p.groups.steps.out = group_step(out);
}

}  // namespace octavo
