// SPDX-License-Identifier: Apache-2.0
// From a scale argument to the view that kernels read: the shape rules of every granularity.
#include <algorithm>
#include <string>

#include "core/data/cells.hpp"
#include "core/data/extents.hpp"
#include "core/error.hpp"
#include "ops/rules.hpp"

namespace octavo {
namespace {

using Kind = Granularity::Kind;

Arg scale_arg(Side side) noexcept { return side == Side::a ? Arg::scale_a : Arg::scale_b; }

bool scale_type(DType dtype) noexcept {
  return is_wide(dtype) || dtype == DType::float8_e8m0fnu || dtype == DType::float8_e4m3fn;
}

// A 2-D view of scales with given strides; extents of one cell get stride 0.
TensorView cells_view(const TensorView& v, std::int64_t down, std::int64_t across,
                      std::int64_t step_down, std::int64_t step_across) noexcept {
  TensorView view = v;
  view.rank = 2;
  view.shape = {down, across};
  view.strides = {down == 1 ? 0 : step_down, across == 1 ? 0 : step_across};
  return view;
}

// The same behind a leading group dimension.
TensorView grouped_view(const TensorView& v, std::int64_t groups, std::int64_t down,
                        std::int64_t across, std::int64_t step_group, std::int64_t step_down,
                        std::int64_t step_across) noexcept {
  TensorView view = v;
  view.rank = 3;
  view.shape = {groups, down, across};
  view.strides = {step_group, down == 1 ? 0 : step_down, across == 1 ? 0 : step_across};
  return view;
}

CarriedScale scale_view(const TensorView& data, const ScaleGrid& grid) noexcept {
  CarriedScale view;
  view.kind = ScaleKind::tensor;
  view.data = data;
  view.rows = grid.rows;
  view.cols = grid.cols;
  return view;
}

bool has_shape(const TensorView& v, std::initializer_list<std::int64_t> shape) noexcept {
  const std::span<const std::int64_t> dims = v.dims();
  return std::equal(dims.begin(), dims.end(), shape.begin(), shape.end());
}

TensorView one_element(const TensorView& v) noexcept { return cells_view(v, 1, 1, 0, 0); }

// Without a declared granularity: one element, or the operand's own shape with 1 where a scale is
// shared. A 1-D scale belongs to the last dimension, as in broadcasting.
Result<CarriedScale> broadcast(const Site& site, const TensorView& v, const ScaleContext& c) {
  if (v.numel() == 1) return scale_view(one_element(v), {});
  const std::int64_t down = v.rank == 2 ? v.shape[0] : 1;
  const std::int64_t across = v.rank == 2 ? v.shape[1] : v.shape[0];
  const bool fits = (v.rank == 1 || v.rank == 2) && (down == 1 || down == c.rows) &&
                    (across == 1 || across == c.cols);
  if (!fits) {
    return fail(Code::invalid_argument,
                "{}.shape must broadcast to [{}, {}]; got {} (a granularity says another reading: "
                "{}, or group128 and block128x128 for groups and blocks)",
                site(scale_arg(c.side)), c.rows, c.cols, shape_string(v),
                c.side == Side::a ? "token" : "channel");
  }
  const std::int64_t step_down = v.rank == 2 ? v.strides[0] : 0;
  const std::int64_t step_across = v.rank == 2 ? v.strides[1] : v.strides[0];
  // One element along K is constant along K, even where K is 1.
  const ScaleGrid grid{down == 1 ? kWholeExtent : 1, across == 1 ? kWholeExtent : 1};
  return scale_view(cells_view(v, down, across, step_down, step_across), grid);
}

// PyTorch's grouped shapes: [M], [G, M], [G * M] for A and the same with N for B; and vLLM's, which
// keep the operand's own dimensions: [M, 1], [G, M, 1], [1, N], [G, 1, N], and [G, 1] for a scale
// of each group.
Result<CarriedScale> rowwise(const Site& site, const TensorView& v, const ScaleContext& c) {
  if (v.numel() == 1) return scale_view(one_element(v), {});
  const bool a = c.side == Side::a;
  const std::int64_t outer = a ? c.rows : c.cols;  // M or N
  const ScaleGrid grid = scale_grid(a ? per_token() : per_channel(), c.side);
  const auto along = [&](std::int64_t step) {
    return a ? cells_view(v, outer, 1, step, 0) : cells_view(v, 1, outer, 0, step);
  };
  const auto along_groups = [&](std::int64_t step_group, std::int64_t step) {
    return a ? grouped_view(v, c.groups, outer, 1, step_group, step, 0)
             : grouped_view(v, c.groups, 1, outer, step_group, 0, step);
  };
  const std::int64_t last = v.rank > 0 ? v.strides[static_cast<std::size_t>(v.rank - 1)] : 0;
  const std::int64_t step =
      v.rank > 1 ? v.strides[static_cast<std::size_t>(v.rank - (a ? 2 : 1))] : 0;
  if (c.operand_3d) {
    if (has_shape(v, {c.groups, outer})) return scale_view(along_groups(v.strides[0], last), grid);
    if (has_shape(v, {c.groups, 1})) {
      return scale_view(grouped_view(v, c.groups, 1, 1, v.strides[0], 0, 0), {});
    }
    if (a ? has_shape(v, {c.groups, outer, 1}) : has_shape(v, {c.groups, 1, outer})) {
      return scale_view(along_groups(v.strides[0], step), grid);
    }
  } else if (c.inner_split) {
    if (has_shape(v, {c.groups * outer})) {
      return scale_view(along_groups(outer * last, last), grid);
    }
  } else if (has_shape(v, {outer})) {
    return scale_view(along(last), grid);
  } else if (a ? has_shape(v, {outer, 1}) : has_shape(v, {1, outer})) {
    return scale_view(along(step), grid);
  }
  const std::string expected = c.operand_3d    ? fmt::format("[{}, {}]", c.groups, outer)
                               : c.inner_split ? fmt::format("[{} * {}]", c.groups, outer)
                                               : fmt::format("[{}]", outer);
  return fail(Code::invalid_argument,
              "{}.shape must be one element or {}; got {} (declare the granularity for any other "
              "shape)",
              site(scale_arg(c.side)), expected, shape_string(v));
}

// The shapes that a declared granularity accepts, in the operand's own two dimensions.
struct Natural {
  std::int64_t down, across;
  bool as_row;     // also 1-D with `across` elements
  bool as_column;  // also 1-D with `down` elements, and [across, 1] for a channel
};

Natural natural(const Granularity& g, const ScaleGrid& grid, const ScaleContext& c) noexcept {
  const std::int64_t down = cells(c.rows, grid.rows);
  const std::int64_t across = cells(c.cols, grid.cols);
  const bool vector = info(g).vector;
  return {down, across, vector && grid.rows == kWholeExtent, vector && grid.cols == kWholeExtent};
}

// A declared shape in two dimensions of v starting at `first`, steps included.
bool match(const TensorView& v, std::size_t first, const Natural& n, std::int64_t* step_down,
           std::int64_t* step_across) noexcept {
  const std::size_t dims = static_cast<std::size_t>(v.rank) - first;
  if (dims == 2 && v.shape[first] == n.down && v.shape[first + 1] == n.across) {
    *step_down = v.strides[first];
    *step_across = v.strides[first + 1];
    return true;
  }
  const bool row = n.as_row && (dims == 1 || (dims == 2 && v.shape[first + 1] == 1)) &&
                   v.shape[first] == n.across;
  const bool column = n.as_column && dims == 1 && v.shape[first] == n.down;
  if (!row && !column) return false;
  *step_down = column ? v.strides[first] : 0;
  *step_across = row ? v.strides[first] : 0;
  return true;
}

Result<CarriedScale> declared(const Site& site, const TensorView& v, const Granularity& g,
                              const ScaleContext& c) {
  if (!suits(g, c.side)) {
    return check_granularity(site(scale_arg(c.side)) + ".", g, c.side);
  }
  const ScaleGrid grid = scale_grid(g, c.side);
  if (g.kind == Kind::tensor) {
    if (v.numel() == 1) return scale_view(one_element(v), grid);
    if (c.groups >= 0 && has_shape(v, {c.groups})) {
      return scale_view(grouped_view(v, c.groups, 1, 1, v.strides[0], 0, 0), grid);
    }
    return fail(
        Code::invalid_argument, "{}.shape must be one element{}; got {}", site(scale_arg(c.side)),
        c.groups >= 0 ? fmt::format(" or [{}], one per group", c.groups) : "", shape_string(v));
  }
  const Natural n = natural(g, grid, c);
  std::int64_t down = 0;
  std::int64_t across = 0;
  if (c.operand_3d) {
    if (v.rank >= 2 && v.shape[0] == c.groups && match(v, 1, n, &down, &across)) {
      return scale_view(grouped_view(v, c.groups, n.down, n.across, v.strides[0], down, across),
                        grid);
    }
  } else if (v.rank >= 1 && match(v, 0, n, &down, &across)) {
    return scale_view(cells_view(v, n.down, n.across, down, across), grid);
  }
  return fail(Code::invalid_argument, "{}.shape must be [{}{}, {}] for granularity {}; got {}",
              site(scale_arg(c.side)), c.operand_3d ? fmt::format("{}, ", c.groups) : "", n.down,
              n.across, to_string(g), shape_string(v));
}

// What an operand carries must fit it: the caller may have built it by hand.
Status check_carried(const Site& site, const CarriedScale& scale, const ScaleContext& c) {
  if (scale.kind != ScaleKind::tensor) return {};
  OCTAVO_TRY(check_tensor(site, scale_arg(c.side), scale.data));
  const auto first = static_cast<std::size_t>(scale.data.rank == 3 ? 1 : 0);
  const bool fits = scale.rows > 0 && scale.cols > 0 && scale.row0 >= 0 && scale.col0 >= 0 &&
                    scale.row0 < kMostBytes / 2 && scale.col0 < kMostBytes / 2 &&
                    scale.data.rank == (c.operand_3d ? 3 : 2) && scale_type(scale.data.dtype) &&
                    scale.data.shape[first] >= cells(scale.row0 + c.rows, scale.rows) &&
                    scale.data.shape[first + 1] >= cells(scale.col0 + c.cols, scale.cols);
  if (fits) return {};
  return fail(Code::invalid_argument,
              "{} carried by the operand must cover [{}, {}]; got {} of {}, {} x {} elements each",
              site(scale_arg(c.side)), c.rows, c.cols, shape_string(scale.data),
              name(scale.data.dtype), scale.rows, scale.cols);
}

}  // namespace

Result<CarriedScale> resolve_scale(const Site& site, const Scale& scale, const ScaleContext& c) {
  switch (scale.kind()) {
    case Scale::Kind::undefined:
    case Scale::Kind::null:
      return CarriedScale{};
    case Scale::Kind::number: {
      CarriedScale view;
      view.kind = ScaleKind::number;
      view.number = scale.number();
      return view;
    }
    case Scale::Kind::tensor:
      break;
  }
  const Arg arg = scale_arg(c.side);
  const TensorView& v = scale.values();
  OCTAVO_TRY(check_tensor(site, arg, v));
  if (!scale_type(v.dtype)) {
    return fail(Code::invalid_argument,
                "{}.dtype must be float32, bfloat16, float16, float8_e8m0fnu or float8_e4m3fn; got "
                "{} (convert it to float32 first)",
                site(arg), name(v.dtype));
  }
  if (scale.granularity().kind != Kind::automatic) {
    return declared(site, v, scale.granularity(), c);
  }
  return c.reading == ScaleReading::rowwise ? rowwise(site, v, c) : broadcast(site, v, c);
}

Status resolve_scales(const Site& site, Operand& operand, const Scale& scale,
                      const ScaleContext& c) {
  if (scale.kind() == Scale::Kind::undefined) {
    for (const CarriedScale& carried : operand.scale) OCTAVO_TRY(check_carried(site, carried, c));
    return {};
  }
  OCTAVO_TRY_ASSIGN(operand.scale[0], resolve_scale(site, scale, c));
  if (operand.scale[1].present()) operand.scale[1] = {};
  return {};
}

}  // namespace octavo
