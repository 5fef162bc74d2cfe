// SPDX-License-Identifier: Apache-2.0
// Cutting a grouped problem into its members.
#include "octavo/problem.hpp"

#include <algorithm>

#include "core/element.hpp"
#include "core/members.hpp"
#include "octavo/packed.hpp"

namespace octavo {
namespace {

struct Range {
  std::int64_t begin, end;
};

std::int64_t offset_at(const TensorView& offs, std::int64_t i) noexcept {
  return load_int(offs.dtype, offs.data, i * offs.strides[0]);
}

// Group g's part of the dimension that the offsets cut, inside [0, extent] whatever they say.
Range cut(const MatmulProblem& p, std::int64_t g) noexcept {
  const std::int64_t extent = cut_extent(p);
  const TensorView& offs = p.groups.offs;
  const std::int64_t first = p.groups.prefix ? offset_at(offs, g)
                             : g > 0         ? offset_at(offs, g - 1)
                                             : 0;
  const std::int64_t last = offset_at(offs, p.groups.prefix ? g + 1 : g);
  const std::int64_t begin = std::clamp<std::int64_t>(first, 0, extent);
  return {begin, std::clamp(last, begin, extent)};
}

// A 3-D scale belongs to one group and counts within it; a 2-D one covers the uncut operand.
void cut_scales(Operand& operand, std::int64_t g, std::int64_t row, std::int64_t col) noexcept {
  for (ScaleView& scale : operand.scale) {
    if (scale.kind != ScaleView::Kind::tensor) continue;
    if (scale.data.rank == 3) {
      scale.data = scale.data[g];
    } else {
      scale = scale.shifted(row, col);
    }
  }
}

TensorView group_part(const TensorView& view, int whole_rank, std::int64_t g) noexcept {
  return view.defined() && view.rank > whole_rank ? view[g] : view;
}

// Group g of a tensor form, of this range of what is cut.
Member part_of(const MatmulProblem& p, std::int64_t g, Range range) noexcept {
  const Split split = p.groups.split;
  Member part = p.single;
  TensorView& a = part.a.data;
  TensorView& b = part.b.data;
  Epilogue& e = part.epilogue;
  const std::int64_t begin = range.begin;
  const std::int64_t end = range.end;

  a = a.rank == 3 ? a[g] : a;
  b = b.rank == 3 ? b[g] : b;
  part.out = part.out.rank == 3 ? part.out[g] : part.out;
  e.c = group_part(e.c, 2, g);
  e.bias = group_part(e.bias, 1, g);
  if (split == Split::rows) {
    a = a.slice(0, begin, end);
    if (part.out.defined()) part.out = part.out.slice(0, begin, end);
    if (e.c.defined()) e.c = e.c.slice(0, begin, end);
    if (part.a.azp.defined()) part.a.azp = part.a.azp.slice(0, begin, end);
    cut_scales(part.a, g, begin, 0);
    cut_scales(part.b, g, 0, 0);
  } else if (split == Split::columns) {
    b = b.slice(1, begin, end);
    if (part.out.defined()) part.out = part.out.slice(1, begin, end);
    if (e.c.defined()) e.c = e.c.slice(1, begin, end);
    if (e.bias.defined()) e.bias = e.bias.slice(0, begin, end);
    if (e.scale_result.data.defined()) {
      e.scale_result.data = e.scale_result.data.slice(0, begin, end);
    }
    cut_scales(part.a, g, 0, 0);
    cut_scales(part.b, g, 0, begin);
  } else if (split == Split::inner) {
    a = a.slice(1, begin, end);
    b = b.slice(0, begin, end);
    cut_scales(part.a, g, 0, begin);
    cut_scales(part.b, g, begin, 0);
  } else {
    cut_scales(part.a, g, 0, 0);
    cut_scales(part.b, g, 0, 0);
  }
  return part;
}

}  // namespace

Operand::Operand(const Quantized& quantized) : data(quantized.data.view()) {
  scale[0].kind = quantized.scale.defined() ? ScaleView::Kind::tensor : ScaleView::Kind::none;
  scale[0].data = quantized.scale.view();
  scale[0].rows = quantized.grid.rows;
  scale[0].cols = quantized.grid.cols;
  azp = quantized.azp.view();
}

Operand::Operand(const PackedWeight& weight) : packed(&weight) {}

Operand Operand::transposed() const noexcept {
  Operand t = *this;
  t.data = data.transposed();
  for (ScaleView& view : t.scale) view = view.transposed();
  t.azp = azp.transposed();
  return t;
}

std::int64_t group_count(const MatmulProblem& p) noexcept {
  switch (p.groups.split) {
    case Split::none:
      return 1;
    case Split::list:
      return static_cast<std::int64_t>(p.groups.list.size());
    case Split::rows:
      return p.single.b.data.shape[0];
    case Split::columns:
    case Split::batch:
      return p.single.a.data.shape[0];
    case Split::inner:
      return p.groups.offs.shape[0] - (p.groups.prefix ? 1 : 0);
  }
  return 0;
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
  return part_of(p, g, split == Split::batch ? Range{0, 0} : cut(p, g));
}

std::int64_t start_alignment(const MatmulProblem& p) noexcept {
  if (p.groups.split != Split::inner) return 1;  // a plan does not ask for it
  constexpr std::uint64_t kMost = 64;
  std::uint64_t all = kMost;
  const std::int64_t groups = p.groups.offs.defined() ? group_count(p) : 0;
  for (std::int64_t g = 0; g < groups; ++g) all |= static_cast<std::uint64_t>(cut(p, g).begin);
  return static_cast<std::int64_t>(all & -all);
}

Member cut_to(const MatmulProblem& p, std::int64_t extent) noexcept {
  const std::int64_t begin = p.groups.split == Split::inner ? p.groups.start_alignment : 0;
  return part_of(p, 0, {begin, begin + extent});
}

TensorView tail(const MatmulProblem& p) noexcept {
  const Split split = p.groups.split;
  if (split != Split::rows && split != Split::columns) return {};
  const std::int64_t groups = group_count(p);
  const std::int64_t extent = cut_extent(p);
  const std::int64_t last = groups > 0 ? cut(p, groups - 1).end : 0;
  if (last == extent || !p.single.out.defined()) return {};
  return p.single.out.slice(split == Split::rows ? 0 : 1, last, extent);
}

}  // namespace octavo
