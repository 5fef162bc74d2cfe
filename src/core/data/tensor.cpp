// SPDX-License-Identifier: Apache-2.0
// Views, owned tensors and copies between strided layouts.
#include "octavo/tensor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#include "core/data/convert.hpp"
#include "core/data/enumerators.hpp"
#include "core/data/extents.hpp"
#include "core/data/rows.hpp"
#include "core/devices/devices.hpp"
#include "core/error.hpp"
#include "octavo/backend.hpp"

namespace octavo {
namespace {

void set_compact_strides(TensorView& view) noexcept {
  std::int64_t step = 1;
  for (int d = view.rank - 1; d >= 0; --d) {
    view.strides[static_cast<std::size_t>(d)] = step;
    step *= view.shape[static_cast<std::size_t>(d)];
  }
}

// The bytes of a compact tensor, or -1 where they do not fit into 63 bits.
std::int64_t compact_bytes(DType dtype, std::span<const std::int64_t> shape) noexcept {
  std::int64_t bytes = element_bytes(dtype);
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent < 0) return -1;
    if (extent == 0) empty = true;
    if (extent != 0 && __builtin_mul_overflow(bytes, extent, &bytes)) return -1;
  }
  return empty ? 0 : bytes;
}

// Gives memory back where it came from.
struct Release {
  const DeviceMemory* memory;
  std::size_t bytes;
  Place place;
  void operator()(void* block) const noexcept { memory->release(block, bytes, place); }
};

}  // namespace

TensorView::TensorView(const void* memory, DType type, std::span<const std::int64_t> sizes)
    : data(const_cast<void*>(memory)), dtype(type) {  // NOLINT: inputs are never written
  if (sizes.size() > kMaxRank) {
    throw_status(fail(Code::invalid_argument, "TensorView: shape.size must be at most {}; got {}",
                      kMaxRank, sizes.size()));
  }
  rank = static_cast<int>(sizes.size());
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    if (sizes[d] < 0) {
      throw_status(fail(Code::invalid_argument, "TensorView: shape[{}] must be at least 0; got {}",
                        d, sizes[d]));
    }
    shape[d] = sizes[d];
  }
  if (!fits_padded(sizes)) {
    throw_status(fail(Code::invalid_argument,
                      "TensorView: shape must count less than 2^63 bytes, rows and columns padded "
                      "to 64 and elements to 8 bytes; got [{}]",
                      fmt::join(sizes, ", ")));
  }
  set_compact_strides(*this);
}

TensorView::TensorView(const void* memory, DType type, std::initializer_list<std::int64_t> sizes,
                       std::initializer_list<std::int64_t> steps)
    : TensorView(memory, type, sizes) {
  if (steps.size() != sizes.size()) {
    throw_status(fail(Code::invalid_argument,
                      "TensorView: strides.size must be shape.size = {}; got {}", sizes.size(),
                      steps.size()));
  }
  std::size_t d = 0;
  for (const std::int64_t step : steps) strides[d++] = step;
}

std::int64_t TensorView::numel() const noexcept {
  std::int64_t count = 1;
  for (const std::int64_t extent : dims()) count *= extent;
  return count;
}

bool TensorView::contiguous() const noexcept {
  std::int64_t step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    const auto i = static_cast<std::size_t>(d);
    if (shape[i] == 0) return true;
    if (shape[i] != 1 && strides[i] != step) return false;
    step *= shape[i];
  }
  return true;
}

TensorView TensorView::transposed() const noexcept {
  TensorView t = *this;
  if (rank < 2) return t;
  const auto last = static_cast<std::size_t>(rank - 1);
  std::swap(t.shape[last], t.shape[last - 1]);
  std::swap(t.strides[last], t.strides[last - 1]);
  return t;
}

TensorView TensorView::slice(int dim, std::int64_t begin, std::int64_t end) const noexcept {
  TensorView part = *this;
  const auto d = static_cast<std::size_t>(dim);
  part.data = at(begin * strides[d]);
  part.shape[d] = end - begin;
  return part;
}

TensorView TensorView::operator[](std::int64_t index) const noexcept {
  TensorView part = *this;
  part.data = at(index * strides[0]);
  part.rank = rank - 1;
  for (std::size_t d = 0; d + 1 < kMaxRank; ++d) {
    part.shape[d] = shape[d + 1];
    part.strides[d] = strides[d + 1];
  }
  return part;
}

Result<Tensor> Tensor::try_empty(const char* operation, DType dtype,
                                 std::span<const std::int64_t> shape, const Place& place) noexcept {
  if (shape.size() > kMaxRank) {
    return fail(Code::invalid_argument, "{}: shape.size must be at most {}; got {}", operation,
                kMaxRank, shape.size());
  }
  if (!known(dtype)) {
    return fail(Code::invalid_argument, "{}: dtype must be an enumerator, less than {}; got {}",
                operation, kDTypes.size(), static_cast<int>(dtype));
  }
  if (std::any_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent < 0; })) {
    return fail(Code::invalid_argument, "{}: shape must not be negative; got [{}]", operation,
                fmt::join(shape, ", "));
  }
  const std::int64_t bytes = compact_bytes(dtype, shape);
  if (bytes < 0 || (bytes == 0 && !fits_padded(shape))) {  // views pad an empty tensor's extents
    return fail(Code::invalid_argument, "{}: shape must count less than 2^63 bytes; got more",
                operation);
  }
  const DeviceKind* kind = find_kind(place.device.type);
  if (kind == nullptr || kind->memory == nullptr ||
      kind->memory->unavailable(place.device.index) != nullptr) {
    return fail(Code::unavailable, "{}: device {}", operation, device_refusal(place.device));
  }
  const std::size_t size = bytes == 0 ? 1 : static_cast<std::size_t>(bytes);
  void* block = kind->memory->allocate(size, place);
  if (block != nullptr) {
    try {
      std::shared_ptr<void> owner(block, Release{kind->memory, size, place});
      TensorView view(block, dtype, shape);
      view.device = place.device;
      return adopt(std::move(owner), view);
    } catch (const std::bad_alloc&) {  // the owner's own; it has released the block
    }
  }
  return fail(Code::out_of_memory, "{}: memory must be available; got none for {} bytes", operation,
              bytes);
}

Tensor Tensor::empty(DType dtype, std::span<const std::int64_t> shape, const Place& place) {
  return detail::value_or_throw(try_empty("Tensor::empty", dtype, shape, place));
}

Tensor Tensor::adopt(std::shared_ptr<void> owner, const TensorView& view) noexcept {
  Tensor tensor;
  tensor.owner_ = std::move(owner);
  tensor.view_ = view;
  return tensor;
}

namespace {

template <class View>
void copy_rows(const View& from, const View& to) noexcept {
  const auto bytes = static_cast<std::size_t>(element_bytes(from.dtype));
  const InnerRow row = innermost(from, to);
  for_each_row(from, to, [&](std::int64_t source, std::int64_t target) {
    if (row.stride_a == 1 && row.stride_b == 1) {
      std::memcpy(to.at(target), from.at(source), bytes * static_cast<std::size_t>(row.length));
      return;
    }
    for (std::int64_t i = 0; i < row.length; ++i) {
      std::memcpy(to.at(target + i * row.stride_b), from.at(source + i * row.stride_a), bytes);
    }
  });
}

}  // namespace

void copy_elements(const TensorView& from, const TensorView& to) noexcept { copy_rows(from, to); }
void copy_elements(const MatrixView& from, const MatrixView& to) noexcept { copy_rows(from, to); }

std::string shape_string(const TensorView& view) {
  return fmt::format("[{}]", fmt::join(view.dims(), ", "));
}

}  // namespace octavo
