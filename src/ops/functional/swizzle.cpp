// SPDX-License-Identifier: Apache-2.0
#include "ops/functional/swizzle.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "ops/run.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kNoSuchSize = std::numeric_limits<std::int64_t>::max();

std::int64_t product(std::int64_t a, std::int64_t b) noexcept {
  std::int64_t result = 0;
  return __builtin_mul_overflow(a, b, &result) ? kNoSuchSize : result;
}

// The bytes of a matrix of scales in whole tiles.
std::int64_t padded(std::int64_t outer, std::int64_t across) noexcept {
  return product(product(cells(outer, 128), cells(across, 4)), 512);
}

Status check_size(const SwizzledScale& s, const TensorView& v, std::int64_t expected,
                  bool at_least) {
  const std::int64_t given = v.numel();
  if (v.contiguous() && (given == expected || (at_least && given > expected))) return {};
  return fail(Code::invalid_argument,
              "{} must have {}{} contiguous elements for SWIZZLE_32_4_4 (whole 128 x 4 tiles{}); "
              "got {}",
              s.site(s.arg), at_least ? "at least " : "", expected,
              at_least ? " of each group" : "", shape_string(v));
}

// A buffer of tiles, `at` bytes from the first, into a matrix.
Status read_tiles(const SwizzledScale& s, const TensorView& tiles, std::int64_t at,
                  const TensorView& to) {
  OCTAVO_TRY_ASSIGN(const Backend* backend, backend_for(s.site.operation, tiles.device, nullptr));
  return backend->passes.unswizzle({tiles.at(at), to}, s.context);
}

// A new tensor of scales beside those.
Result<Tensor> natural_like(const SwizzledScale& s, const TensorView& values,
                            std::span<const std::int64_t> shape) {
  return Tensor::try_empty(s.site.operation, values.dtype, shape, s.context.place(values.device));
}

// A group's part of a 2-D operand's scales, and its buffer's size.
struct SwizzledPart {
  std::int64_t row = 0, column = 0, outer = 0, across = 0;
  std::int64_t bytes() const noexcept { return padded(outer, across); }
};

Result<SwizzledPart> part_of(const SwizzledScale& s, ScaleCut cut, std::int64_t begin,
                             std::int64_t end) {
  const std::int64_t across = cells(s.inner, s.cell);
  if (cut == ScaleCut::outer) return SwizzledPart{begin, 0, end - begin, across};
  if (begin == end) return SwizzledPart{};
  if (begin % s.cell != 0) {
    return fail(
        Code::invalid_argument,
        "{} must begin at multiples of {} for SWIZZLE_32_4_4 where K is cut (each group has "
        "scales of its own); got a group that begins at {}",
        s.site(Arg::offs), s.cell, begin);
  }
  return SwizzledPart{0, begin / s.cell, s.outer, cells(end, s.cell) - begin / s.cell};
}

}  // namespace

Result<Tensor> unswizzle(const SwizzledScale& s, const TensorView& values) {
  const std::int64_t across = cells(s.inner, s.cell);
  OCTAVO_TRY(check_size(s, values, padded(s.outer, across), false));
  const std::array<std::int64_t, 2> shape{s.outer, across};
  OCTAVO_TRY_ASSIGN(const Tensor natural, natural_like(s, values, shape));
  OCTAVO_TRY(read_tiles(s, values, 0, natural));
  return natural;
}

Result<Tensor> unswizzle_groups(const SwizzledScale& s, ScaleCut cut, std::int64_t groups,
                                std::span<const std::int64_t> ends, const TensorView& values) {
  const std::int64_t across = cells(s.inner, s.cell);
  if (cut == ScaleCut::stacked) {
    const std::int64_t each = padded(s.outer, across);
    OCTAVO_TRY(check_size(s, values, product(groups, each), false));
    const std::array<std::int64_t, 3> shape{groups, s.outer, across};
    OCTAVO_TRY_ASSIGN(const Tensor natural, natural_like(s, values, shape));
    for (std::int64_t g = 0; g < groups; ++g) {
      OCTAVO_TRY(read_tiles(s, values, g * each, natural.view()[g]));
    }
    return natural;
  }
  std::vector<SwizzledPart> parts;
  std::int64_t begin = 0;
  std::int64_t expected = 0;
  for (const std::int64_t end : ends.first(static_cast<std::size_t>(groups))) {
    OCTAVO_TRY_ASSIGN(const SwizzledPart part, part_of(s, cut, begin, end));
    const std::int64_t bytes = part.bytes();
    expected = expected > kNoSuchSize - bytes ? kNoSuchSize : expected + bytes;
    parts.push_back(part);
    begin = end;
  }
  OCTAVO_TRY(check_size(s, values, expected, true));
  const std::array<std::int64_t, 2> shape{s.outer, across};
  OCTAVO_TRY_ASSIGN(const Tensor natural, filled(s.site.operation, values.dtype, shape, 1.0F,
                                                 s.context.place(values.device)));
  std::int64_t at = 0;
  for (const SwizzledPart& part : parts) {
    const TensorView rows = natural.view().slice(0, part.row, part.row + part.outer);
    OCTAVO_TRY(read_tiles(s, values, at, rows.slice(1, part.column, part.column + part.across)));
    at += part.bytes();
  }
  return natural;
}

}  // namespace octavo
