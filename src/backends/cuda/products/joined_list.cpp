// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/joined_list.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "backends/cuda/products/rows_layout.hpp"
#include "backends/cuda/products/tiled.hpp"
#include "core/problem/operand.hpp"

namespace octavo::cuda {
namespace {

// B as a matrix; one that is packed otherwise than as rows of K has none.
MatrixView matrix_of(const OperandView& b) noexcept {
  if (b.packed == nullptr) return b.data;
  const PackedWeightData& packed = *b.packed->content();
  return packed.layout == &kRowsLayout ? packed_rows(packed).transposed() : MatrixView();
}

bool same_columns(const MatrixView& x, const MatrixView& y) noexcept {
  return x.dtype == y.dtype && x.shape[1] == y.shape[1] && x.strides == y.strides;
}
bool same_form(const Elements& x, const Elements& y) noexcept {
  return x.dtype == y.dtype && (!x.defined() || x.strides == y.strides);
}
bool same_form(const ScaleView& x, const ScaleView& y) noexcept {
  return x.kind == y.kind && x.number == y.number && same_form(x.data, y.data) &&
         x.rows == y.rows && x.cols == y.cols && x.row0 == y.row0 && x.col0 == y.col0;
}
bool same_factor(const Factor& x, const Factor& y) noexcept {
  return x.kind == y.kind && x.number == y.number && same_form(x.data, y.data) &&
         x.data.data == y.data.data;
}

bool alike(const Member& x, const Member& y) noexcept {
  const auto scales = [](const OperandView& a, const OperandView& b) {
    return same_form(a.scale[0], b.scale[0]) && !a.scale[1].present() && !b.scale[1].present();
  };
  const bool packed = x.b.packed != nullptr;
  const bool weights =
      packed == (y.b.packed != nullptr) && weight_dtype(x.b) == weight_dtype(y.b) &&
      weight_rows(x.b) == weight_rows(y.b) && weight_columns(x.b) == weight_columns(y.b) &&
      (packed || x.b.data.strides == y.b.data.strides);
  return weights && same_columns(x.a.data, y.a.data) && same_columns(x.out, y.out) &&
         same_form(x.epilogue.c, y.epilogue.c) && scales(x.a, y.a) && scales(x.b, y.b) &&
         same_form(x.epilogue.bias, y.epilogue.bias) &&
         same_factor(x.epilogue.alpha, y.epilogue.alpha) &&
         same_factor(x.epilogue.beta, y.epilogue.beta) &&
         same_factor(x.epilogue.scale_result, y.epilogue.scale_result);
}

// Elements from one address to another; none where they are no whole number.
std::optional<std::int64_t> elements_between(const void* from, const void* to,
                                             DType dtype) noexcept {
  const std::int64_t bytes = static_cast<const char*>(to) - static_cast<const char*>(from);
  if (bytes % element_bytes(dtype) != 0) return std::nullopt;
  return bytes / element_bytes(dtype);
}

// Whether `x`, some rows on, is what the first one has there.
bool continues(const Elements& first, const Elements& x, std::int64_t rows) noexcept {
  return !first.defined() ||
         elements_between(first.data, x.data, first.dtype) == rows * first.strides[0];
}
bool continues(const ScaleView& first, const ScaleView& x, std::int64_t rows) noexcept {
  if (first.kind != ScaleKind::tensor) return true;
  const std::int64_t own = first.rows == 1 ? rows : 0;
  return (first.rows == 1 || first.rows == kWholeExtent) && continues(first.data, x.data, own);
}

// Where each product's own part lies, so many steps of the stack on: the first two that differ say
// how far a step goes.
class Steps {
 public:
  bool add(const Elements& first, const Elements& x, std::int64_t place) noexcept {
    if (!first.defined() || place == 0) return true;
    const auto distance = elements_between(first.data, x.data, first.dtype);
    if (!distance || *distance % place != 0) return false;
    if (!step_) step_ = *distance / place;
    return *step_ * place == *distance;
  }
  std::int64_t step() const noexcept { return step_.value_or(0); }

 private:
  std::optional<std::int64_t> step_;
};

}  // namespace

bool JoinedList::may_join(const MatmulProblem& problem) noexcept {
  const auto& list = problem.groups.list;
  if (problem.groups.split != Split::list || list.size() < 2) return false;
  const Member& first = list.front();
  const MatrixView b = matrix_of(first.b);
  return b.defined() && is_tiled(b.transposed()) && std::ranges::all_of(list, [&](const Member& p) {
           return alike(first, p) && p.a.quantize == nullptr && !p.a.azp.defined() &&
                  !p.b.azp.defined() && !p.epilogue.outliers.present();
         });
}

MatmulProblem JoinedList::outline(const MatmulProblem& list) noexcept {
  MatmulProblem joined = list;
  Member& all = joined.single = list.groups.list.front();
  all.b.data = matrix_of(all.b);
  all.b.packed = nullptr;
  std::int64_t rows = 0;
  for (const Member& p : list.groups.list) rows += p.a.data.shape[0];
  all.a.data.shape[0] = all.out.shape[0] = rows;
  joined.groups = {};
  joined.groups.split = Split::rows;
  joined.groups.count = static_cast<std::int64_t>(list.groups.list.size());
  return joined;
}

bool JoinedList::join(const MatmulProblem& given) noexcept {
  const auto& list = given.groups.list;
  const Member& first = list.front();
  const MatrixView b = matrix_of(first.b);
  const auto distance_of = [&](const Member& p) {
    return elements_between(b.data, matrix_of(p.b).data, b.dtype).value_or(-1);
  };
  std::int64_t step = 0;
  for (const Member& p : list) {
    const std::int64_t distance = distance_of(p);
    if (distance < 0) return false;
    step = std::gcd(step, distance);
  }
  if (step == 0 || step % b.strides[1] != 0) return false;

  Steps scale_b, bias;
  std::int64_t rows = 0, next = 0;
  for (const Member& p : list) {
    const std::int64_t place = distance_of(p) / step, own = p.a.data.shape[0];
    if (place < next || place >= static_cast<std::int64_t>(ends_.size()) ||
        rows + own > std::numeric_limits<std::int32_t>::max())
      return false;
    if (!continues(first.a.data, p.a.data, rows) || !continues(first.out, p.out, rows) ||
        !continues(first.epilogue.c, p.epilogue.c, rows) ||
        !continues(first.a.scale[0], p.a.scale[0], rows) ||
        !scale_b.add(first.b.scale[0].data, p.b.scale[0].data, place) ||
        !bias.add(first.epilogue.bias, p.epilogue.bias, place))
      return false;
    const auto put_end = [&] { ends_[static_cast<std::size_t>(next++)] = static_cast<int>(rows); };
    while (next < place) put_end();
    rows += own;
    put_end();
  }
  joined_ = outline(given);
  Groups& groups = joined_.groups;
  groups.count = next;
  groups.steps.b = step;
  groups.steps.scale_b[0] = scale_b.step();
  groups.steps.bias = bias.step();
  groups.offs.data = ends_.data();
  groups.offs.dtype = DType::int32;
  groups.offs.rank = 1;
  groups.offs.shape[0] = next;
  groups.offs.strides[0] = 1;
  return step / b.strides[1] * next + b.shape[1] <= kMostExtent;
}

}  // namespace octavo::cuda
