// SPDX-License-Identifier: Apache-2.0
// Gradients of operands as products, and which scale goes where:
//
//   scale of x      constant along S      a scale of the product's columns
//                   constant along K      multiplied into grad: it varies along the sum only
//                   neither               a scale along the sum where groups are long enough for
//                                         the kernels, else multiplied into x once
//   scale_result    along S               multiplied into grad; along R: a scale of the rows
//   scale of own    constant along K, R   a scale of the rows, of the columns
//                   neither, or its own   multiplied into the product afterwards, which stays
//                   gradient is wanted    in float32 until then
//
// 8-bit codes are the right operand as they are, so that the product is one of bfloat16 by 8 bits;
// where the output's columns are neighbours they are the left one, in bfloat16.
#include <algorithm>
#include <cstdlib>

#include "core/error.hpp"
#include "ops/gradients/reduce.hpp"
#include "ops/gradients/vjp.hpp"
#include "ops/gradients/vjp_zero_points.hpp"
#include "ops/run.hpp"

namespace octavo {
namespace {

// Groups along the sum that are shorter keep the product from the fast kernels.
constexpr std::int64_t kLeastGroup = 8;

bool along_rows(const ScaleView& s) noexcept {
  return s.kind == ScaleKind::tensor && s.rows != kWholeExtent;
}
bool along_columns(const ScaleView& s) noexcept {
  return s.kind == ScaleKind::tensor && s.cols != kWholeExtent;
}

// A list of scales with room for so many.
template <std::size_t size>
struct ScaleList {
  std::array<ScaleView, size> scales;
  std::size_t count = 0;

  bool add(const ScaleView& scale) noexcept {
    if (count == size) return false;
    scales[count++] = scale;
    return true;
  }
};

// Where each scale of a product goes.
struct Places {
  ScaleList<2> rows, columns;  // the product's own: of its left and its right operand
  ScaleList<5> into_grad;
  ScaleList<2> into_x;
  ScaleList<2> afterwards;
};

void place_scales_of_x(const VjpProduct& p, Places& places, ScaleList<5>& constants) noexcept {
  bool grouped = false;
  for (const ScaleView& s : p.x.scale) {
    if (!s.present()) continue;
    if (!along_rows(s) && !along_columns(s)) {
      constants.add(s);
    } else if (!along_rows(s)) {
      places.columns.add(s);
    } else if (!along_columns(s)) {
      places.into_grad.add(s.transposed());
    } else if (s.rows >= kLeastGroup && !grouped) {
      grouped = places.columns.add(s);
    } else {
      places.into_x.add(s);
    }
  }
}

void place_own_scales(const VjpProduct& p, bool dequantized, Places& places,
                      ScaleList<5>& constants) noexcept {
  if (dequantized) return;
  for (const ScaleView& s : p.own.scale) {
    if (!s.present()) continue;
    if (p.sums.present()) {
      places.afterwards.add(s);
    } else if (!along_rows(s) && !along_columns(s)) {
      constants.add(s);
    } else if (along_rows(s) && along_columns(s)) {
      places.afterwards.add(s);
    } else if (!(along_rows(s) ? places.rows : places.columns).add(s)) {
      places.afterwards.add(s);
    }
  }
}

Places place_scales(const VjpProduct& p, bool dequantized) noexcept {
  Places places;
  ScaleList<5> constants;
  place_scales_of_x(p, places, constants);
  if (along_columns(p.result)) {
    places.into_grad.add(p.result);
  } else if (along_rows(p.result)) {
    places.rows.add(p.result);
  } else if (p.result.present()) {
    constants.add(p.result);
  }
  place_own_scales(p, dequantized, places, constants);
  for (std::size_t i = 0; i < constants.count; ++i) {
    const ScaleView& s = constants.scales[i];
    if (!places.rows.add(s) && !places.columns.add(s)) places.into_grad.add(s);
  }
  return places;
}

// One product on its way, with the tensors that were made for it.
struct Running {
  Member member;
  MatrixView out;  // [R, K]: p.out, or a plane on the way there
  bool transposed = false;
  std::array<ScaleView, 2> afterwards;
  Tensor grad, x, result;  // undefined: as given
};

// A matrix of contiguous along its rows, or, transposed, along its columns.
Result<Tensor> make_plane(const VjpCall& call, bool transposed, DType dtype, std::int64_t rows,
                          std::int64_t columns) {
  if (!transposed) return plane(call, dtype, rows, columns);
  OCTAVO_TRY_ASSIGN(const Tensor columns_together, plane(call, dtype, columns, rows));
  return columns_together.transposed();
}

bool neighbours_along_rows(const MatrixView& v) noexcept {
  return v.strides[1] == 1 || v.shape[1] <= 1;
}

// Does no scale of x vary both with its zero points and along K? What zero points add is then the
// same for every k but for a scale of the product's columns.
bool separable(const OperandView& x) noexcept {
  return std::none_of(x.scale.begin(), x.scale.end(),
                      [](const ScaleView& s) { return along_rows(s) && along_columns(s); });
}

// The type of what is multiplied: bfloat16 where the other operand is no wider, and where at most
// one of the two is rounded to it (codes and grads of bfloat16 that no scale is multiplied into are
// not). A scale's gradient is a sum over the product, whose terms cancel: a rounded grad would be
// all that is left of it.
DType working_type(const VjpCall& call, const VjpProduct& p, const Places& places,
                   bool near) noexcept {
  const DType x = p.x.data.dtype;
  const bool grad_rounds = p.grad.dtype != DType::bfloat16 || places.into_grad.count > 0;
  const bool both_round = grad_rounds && places.into_x.count > 0;
  const bool wide =
      call.float32 || p.sums.present() || x == DType::float32 || x == DType::float16 || both_round;
  return wide || (!near && !separable(p.x)) ? DType::float32 : DType::bfloat16;
}

// Zero points [S, 1] over [S, K].
ScaleView of_rows(const MatrixView& azp) noexcept {
  if (!azp.defined()) return {};
  return {ScaleKind::tensor, 1.0F, azp, 1, kWholeExtent, 0, 0};
}

// The columns of grad and the rows of x that zero points far outside the codes add.
std::int64_t pieces_of(const FarZeroPoints& far) noexcept {
  return far.present() ? kRestPieces : 0;
}

Status make_grad(const VjpCall& call, const VjpProduct& p, const ScaleList<5>& scales, DType type,
                 const FarZeroPoints& far, Running& r) {
  const MatrixView& g = p.grad;
  r.member.a = OperandView(g);
  // The driver widens rows exactly, wherever they are neighbours; a right operand may lie anyhow.
  const bool rows = neighbours_along_rows(g) || (r.transposed && g.strides[0] == 1);
  const bool typed = g.dtype == type || type == DType::float32;
  if (!far.present() && scales.count == 0 && rows && typed) return {};
  const std::int64_t sums = g.shape[1];
  const std::int64_t all = sums + pieces_of(far);
  OCTAVO_TRY_ASSIGN(r.grad, make_plane(call, r.transposed, type, g.shape[0], all));
  const MatrixView scaled = r.grad.view().slice(1, 0, sums);
  OCTAVO_TRY(call.on->passes.rescale({g, {}, scales.scales, scaled}, call.context));
  if (far.present()) {
    OCTAVO_TRY(sum_rest(call, scaled, far.rest, r.grad.view().slice(1, sums, all)));
  }
  r.member.a = OperandView(r.grad);
  return {};
}

Status make_x(const VjpCall& call, const VjpProduct& p, const ScaleList<2>& scales, DType type,
              const FarZeroPoints& far, Running& r) {
  const MatrixView& x = p.x.data;
  r.member.b = OperandView(x);
  // uint8 is no right operand, and no type of 8 bits a left one beside bfloat16.
  const bool fits = r.transposed ? is_wide(x.dtype) && neighbours_along_rows(x.transposed())
                                 : x.dtype != DType::uint8;
  if (fits && !p.x.azp.defined() && scales.count == 0) return {};
  const bool columns = r.transposed || std::abs(x.strides[0]) < std::abs(x.strides[1]);
  const std::int64_t sums = x.shape[0];
  const std::int64_t all = sums + pieces_of(far);
  OCTAVO_TRY_ASSIGN(r.x, make_plane(call, columns, type, all, x.shape[1]));
  const ScaleView azp = of_rows(far.present() ? MatrixView(far.near) : p.x.azp);
  OCTAVO_TRY(call.on->passes.rescale(
      {x, azp, {scales.scales[0], scales.scales[1]}, r.x.view().slice(0, 0, sums)}, call.context));
  OCTAVO_TRY(call.on->passes.fill({r.x.view().slice(0, sums, all), 1.0F}, call.context));
  r.member.b = OperandView(r.x);
  return {};
}

// The product's output: where it goes, or a plane on the way there.
Status make_result(const VjpCall& call, const VjpProduct& p, bool scaled, Running& r) {
  const MatrixView& out = p.out;
  const DType dtype = scaled || p.sums.present() ? DType::float32 : out.dtype;
  const bool rows = out.defined() && neighbours_along_rows(r.transposed ? out.transposed() : out);
  r.out = out;
  if (rows && !scaled && out.dtype == dtype) return {};
  OCTAVO_TRY_ASSIGN(r.result,
                    make_plane(call, r.transposed, dtype, p.grad.shape[0], p.x.data.shape[1]));
  r.out = r.result;
  return {};
}

Status prepare(const VjpCall& call, const VjpProduct& p, Running& r) {
  const Places places = place_scales(p, call.dequantized);
  OCTAVO_TRY_ASSIGN(const bool near, near_zero_points(call, p.x));
  const DType type = working_type(call, p, places, near);
  // An output of neighbouring columns is the transposed product: x^T @ grad^T.
  r.transposed = p.out.defined() && p.out.strides[0] == 1 && !neighbours_along_rows(p.out);
  FarZeroPoints far;
  if (type == DType::bfloat16 && !near) {
    OCTAVO_TRY_ASSIGN(far, split_zero_points(call, p.x));
  }
  OCTAVO_TRY(make_grad(call, p, places.into_grad, type, far, r));
  OCTAVO_TRY(make_x(call, p, places.into_x, type, far, r));
  OCTAVO_TRY(make_result(call, p, places.afterwards.count > 0, r));
  Member& m = r.member;
  m.a.scale = places.rows.scales;
  m.b.scale = places.columns.scales;
  m.out = r.out;
  m.epilogue.alpha = p.alpha;
  r.afterwards = places.afterwards.scales;
  if (!r.transposed) return {};
  const OperandView grad = m.a.transposed();
  m.a = m.b.transposed();
  m.b = grad;
  m.out = r.out.transposed();
  return {};
}

Status finish(const VjpCall& call, const VjpProduct& p, const Running& r) {
  if (p.sums.present()) {
    OCTAVO_TRY(sum_cells(call.operation, *call.on,
                         {{p.own.data, r.out}, p.own.azp, p.own.scale[1], p.sums, {}},
                         call.context));
  }
  if (!p.out.defined() || !r.result.defined()) return {};
  return call.on->passes.rescale({r.result, {}, {r.afterwards[0], r.afterwards[1]}, p.out},
                                 call.context);
}

}  // namespace

Status run_products(const VjpCall& call, std::span<const VjpProduct> products) {
  std::vector<Running> running(products.size());
  std::vector<Member> members(products.size());
  for (std::size_t i = 0; i < products.size(); ++i) {
    OCTAVO_TRY(prepare(call, products[i], running[i]));
    members[i] = running[i].member;
  }
  MatmulProblem problem;
  problem.operation = call.operation;
  problem.options = call.matmul;
  problem.options.torch_compat = false;
  if (members.size() == 1) {  // whose plan is cached
    problem.single = members.front();
  } else {
    problem.groups.split = Split::list;
    problem.groups.list = members;
  }
  OCTAVO_TRY(run_problem(problem, call.context, call.backend));
  for (std::size_t i = 0; i < products.size(); ++i) {
    OCTAVO_TRY(finish(call, products[i], running[i]));
  }
  return {};
}

}  // namespace octavo
