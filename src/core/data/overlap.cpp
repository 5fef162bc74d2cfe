// SPDX-License-Identifier: Apache-2.0
// Address ranges, and column blocks of one row-major buffer.
#include "core/data/overlap.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>

namespace octavo {
namespace {

// The dimensions that matter, outermost (largest stride) first, strides in bytes and positive.
struct Layout {
  std::uintptr_t begin = 0;
  std::int64_t span = 0;  // bytes from the lowest to one past the highest
  int rank = 0;
  std::array<std::int64_t, kMaxRank> extents{};
  std::array<std::int64_t, kMaxRank> steps{};
};

Layout layout_of(const TensorView& v) noexcept {
  Layout l;
  const std::int64_t bytes = element_bytes(v.dtype);
  l.begin = reinterpret_cast<std::uintptr_t>(v.data);
  l.span = bytes;
  for (std::size_t d = 0; d < static_cast<std::size_t>(v.rank); ++d) {
    if (v.shape[d] == 1) continue;
    const std::int64_t step = v.strides[d] * bytes;
    const std::int64_t reach = step * (v.shape[d] - 1);
    if (reach < 0) l.begin -= static_cast<std::uintptr_t>(-reach);
    l.span += reach < 0 ? -reach : reach;
    const auto place = static_cast<std::size_t>(l.rank++);
    l.extents[place] = v.shape[d];
    l.steps[place] = step < 0 ? -step : step;
  }
  for (std::size_t i = 1; i < static_cast<std::size_t>(l.rank); ++i) {
    for (std::size_t j = i; j > 0 && l.steps[j] > l.steps[j - 1]; --j) {
      std::swap(l.steps[j], l.steps[j - 1]);
      std::swap(l.extents[j], l.extents[j - 1]);
    }
  }
  return l;
}

// The bytes that one row takes, a row being everything under the largest stride.
std::int64_t row_bytes(const Layout& l) noexcept {
  return l.span - l.steps[0] * (l.extents[0] - 1);
}

}  // namespace

bool addressable(const TensorView& view) noexcept {
  std::int64_t count = element_bytes(view.dtype);
  std::int64_t span = count;
  for (std::size_t d = 0; d < static_cast<std::size_t>(view.rank); ++d) {
    const std::int64_t extent = view.shape[d];
    if (extent <= 1) continue;
    if (view.strides[d] == std::numeric_limits<std::int64_t>::min()) return false;
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(count, extent, &count)) return false;
    if (__builtin_mul_overflow(std::abs(view.strides[d]), extent, &reach)) return false;
    if (__builtin_mul_overflow(reach, element_bytes(view.dtype), &reach)) return false;
    if (__builtin_add_overflow(span, reach, &span)) return false;
  }
  return true;
}

AddressRange address_range(const TensorView& view) noexcept {
  const Layout l = layout_of(view);
  return {l.begin, l.begin + static_cast<std::uintptr_t>(l.span)};
}

bool overlap(const TensorView& a, const TensorView& b) noexcept {
  if (!a.defined() || !b.defined() || a.numel() == 0 || b.numel() == 0) return false;
  const Layout x = layout_of(a);
  const Layout y = layout_of(b);
  if (x.begin + static_cast<std::uintptr_t>(x.span) <= y.begin) return false;
  if (y.begin + static_cast<std::uintptr_t>(y.span) <= x.begin) return false;
  if (x.rank == 0 || y.rank == 0 || x.steps[0] != y.steps[0] || x.steps[0] == 0) return true;
  // Rows of one common pitch: column blocks are compared modulo that pitch.
  const std::int64_t pitch = x.steps[0];
  if (row_bytes(x) > pitch || row_bytes(y) > pitch) return true;
  const auto distance = static_cast<std::int64_t>(y.begin - x.begin);
  const std::int64_t offset = ((distance % pitch) + pitch) % pitch;
  return offset < row_bytes(x) || offset + row_bytes(y) > pitch;
}

bool repeats_elements(const TensorView& view) noexcept {
  if (view.numel() <= 1) return false;
  const Layout l = layout_of(view);
  std::int64_t below = element_bytes(view.dtype);  // bytes that the inner dimensions reach over
  for (int d = l.rank - 1; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    if (l.steps[i] < below) return true;
    below += l.steps[i] * (l.extents[i] - 1);
  }
  return false;
}

bool same_elements(const TensorView& a, const TensorView& b) noexcept {
  if (a.data != b.data || a.dtype != b.dtype || a.rank != b.rank) return false;
  for (std::size_t d = 0; d < static_cast<std::size_t>(a.rank); ++d) {
    if (a.shape[d] != b.shape[d]) return false;
    if (a.shape[d] > 1 && a.strides[d] != b.strides[d]) return false;
  }
  return true;
}

}  // namespace octavo
