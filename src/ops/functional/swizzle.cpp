// SPDX-License-Identifier: Apache-2.0
#include "ops/functional/swizzle.hpp"

#include <algorithm>
#include <array>
#include <limits>

#include "core/cells.hpp"
#include "core/element.hpp"
#include "core/error.hpp"

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

// The code of 1 in a type of scales.
std::uint8_t one(DType dtype) noexcept { return dtype == DType::float8_e8m0fnu ? 0x7F : 0x38; }

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

// A buffer of tiles into target [outer, across] with so many elements from row to row.
void read_tiles(const std::uint8_t* source, std::int64_t outer, std::int64_t across,
                std::uint8_t* target, std::int64_t stride) noexcept {
  const std::int64_t tiles_across = cells(across, 4);
  for (std::int64_t r = 0; r < outer; ++r) {
    for (std::int64_t c = 0; c < across; ++c) {
      const std::int64_t tile = (r / 128) * tiles_across + c / 4;
      target[r * stride + c] = source[tile * 512 + (r % 32) * 16 + (r / 32 % 4) * 4 + c % 4];
    }
  }
}

// A group's part of a 2-D operand's scales, and its buffer's size.
struct Part {
  std::int64_t row = 0, column = 0, outer = 0, across = 0;
  std::int64_t bytes() const noexcept { return padded(outer, across); }
};

Result<Part> part_of(const SwizzledScale& s, ScaleCut cut, std::int64_t begin, std::int64_t end) {
  const std::int64_t across = cells(s.inner, s.cell);
  if (cut == ScaleCut::outer) return Part{begin, 0, end - begin, across};
  if (begin == end) return Part{};
  if (begin % s.cell != 0) {
    return fail(
        Code::invalid_argument,
        "{} must begin at multiples of {} for SWIZZLE_32_4_4 where K is cut (each group has "
        "scales of its own); got a group that begins at {}",
        s.site(Arg::offs), s.cell, begin);
  }
  return Part{0, begin / s.cell, s.outer, cells(end, s.cell) - begin / s.cell};
}

}  // namespace

Result<Tensor> unswizzle(const SwizzledScale& s, const TensorView& values) {
  const std::int64_t across = cells(s.inner, s.cell);
  OCTAVO_TRY(check_size(s, values, padded(s.outer, across), false));
  const std::array<std::int64_t, 2> shape{s.outer, across};
  OCTAVO_TRY_ASSIGN(const Tensor natural, Tensor::try_empty(s.site.operation, values.dtype, shape));
  read_tiles(static_cast<const std::uint8_t*>(values.data), s.outer, across,
             natural.data_as<std::uint8_t>(), across);
  return natural;
}

Result<Tensor> unswizzle_groups(const SwizzledScale& s, ScaleCut cut, std::int64_t groups,
                                const TensorView& offs, const TensorView& values) {
  const std::int64_t across = cells(s.inner, s.cell);
  const auto* source = static_cast<const std::uint8_t*>(values.data);
  if (cut == ScaleCut::stacked) {
    const std::int64_t each = padded(s.outer, across);
    OCTAVO_TRY(check_size(s, values, product(groups, each), false));
    const std::array<std::int64_t, 3> shape{groups, s.outer, across};
    OCTAVO_TRY_ASSIGN(const Tensor natural,
                      Tensor::try_empty(s.site.operation, values.dtype, shape));
    for (std::int64_t g = 0; g < groups; ++g) {
      read_tiles(source + g * each, s.outer, across,
                 natural.data_as<std::uint8_t>() + g * s.outer * across, across);
    }
    return natural;
  }
  const auto walk = [&](const auto& visit) -> Status {
    std::int64_t begin = 0;
    for (std::int64_t g = 0; g < groups; ++g) {
      const std::int64_t end = load_int(offs.dtype, offs.data, g * offs.strides[0]);
      OCTAVO_TRY_ASSIGN(const Part part, part_of(s, cut, begin, end));
      visit(part);
      begin = end;
    }
    return {};
  };
  std::int64_t expected = 0;
  OCTAVO_TRY(walk([&](const Part& part) {
    const std::int64_t bytes = part.bytes();
    expected = expected > kNoSuchSize - bytes ? kNoSuchSize : expected + bytes;
  }));
  OCTAVO_TRY(check_size(s, values, expected, true));
  const std::array<std::int64_t, 2> shape{s.outer, across};
  OCTAVO_TRY_ASSIGN(const Tensor natural, Tensor::try_empty(s.site.operation, values.dtype, shape));
  auto* target = natural.data_as<std::uint8_t>();
  std::fill_n(target, natural.numel(), one(values.dtype));
  OCTAVO_TRY(walk([&](const Part& part) {
    read_tiles(source, part.outer, part.across, target + part.row * across + part.column, across);
    source += part.bytes();
  }));
  return natural;
}

}  // namespace octavo
