// SPDX-License-Identifier: Apache-2.0
// Packing, unpacking and widening panels of elements of any type.
#include "backends/cpu/generic/element_layout.hpp"

#include <algorithm>
#include <cstring>

#include "backends/cpu/row_kernels.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

std::int64_t panels_of(std::int64_t n) noexcept { return (n + kPanelCols - 1) / kPanelCols; }

// Calls visit(address in the packed block, k, n) for every element.
template <class Visit>
void for_each_packed(const MatrixView& weight, const ExecContext& context,
                     const Visit& visit) noexcept {
  const std::int64_t depth = weight.shape[0];
  const std::int64_t cols = weight.shape[1];
  parallel_for(context, panels_of(cols), [&](std::int64_t panel) {
    const std::int64_t first = panel * kPanelCols;
    const std::int64_t count = std::min(kPanelCols, cols - first);
    for (std::int64_t k = 0; k < depth; ++k) {
      for (std::int64_t j = 0; j < count; ++j) {
        visit((panel * depth + k) * kPanelCols + j,
              k * weight.strides[0] + (first + j) * weight.strides[1]);
      }
    }
  });
}

template <std::size_t bytes>
void pack_as(const MatrixView& weight, char* packed, const ExecContext& context) noexcept {
  const char* source = static_cast<const char*>(weight.data);
  for_each_packed(weight, context, [=](std::int64_t to, std::int64_t from) {
    std::memcpy(packed + to * std::int64_t{bytes}, source + from * std::int64_t{bytes}, bytes);
  });
}

template <std::size_t bytes>
void unpack_as(const char* packed, const MatrixView& weight, const ExecContext& context) noexcept {
  char* target = static_cast<char*>(weight.data);
  for_each_packed(weight, context, [=](std::int64_t from, std::int64_t to) {
    std::memcpy(target + to * std::int64_t{bytes}, packed + from * std::int64_t{bytes}, bytes);
  });
}

const char* packed_panel(const PackedWeightData& w, std::int64_t panel, std::int64_t k) noexcept {
  const std::int64_t element = (panel * w.k + k) * kPanelCols;
  return w.codes.data_as<const char>() + element * element_bytes(w.dtype);
}

std::size_t packed_bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return static_cast<std::size_t>(panels_of(n) * k * kPanelCols * element_bytes(dtype));
}

Status pack_weight(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  std::memset(packed, 0, packed_bytes(weight.dtype, weight.shape[0], weight.shape[1]));
  char* block = static_cast<char*>(packed);
  const std::int64_t size = element_bytes(weight.dtype);
  (size == 1 ? &pack_as<1> : size == 2 ? &pack_as<2> : &pack_as<4>)(weight, block, context);
  return {};
}

Status unpack_weight(const PackedWeightData& packed, const MatrixView& weight,
                     const ExecContext& context) noexcept {
  const char* block = packed.codes.data_as<const char>();
  const std::int64_t size = element_bytes(weight.dtype);
  (size == 1 ? &unpack_as<1> : size == 2 ? &unpack_as<2> : &unpack_as<4>)(block, weight, context);
  return {};
}

void widen_panel(const PackedWeightData& w, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                 float* out) noexcept {
  best_kernels().widen(w.dtype, packed_panel(w, n0 / kPanelCols, k0), (k1 - k0) * kPanelCols, out);
}

}  // namespace

const WeightLayout kElementLayout{
    .name = "x16",
    .version = 1,
    .bytes = &packed_bytes,
    .pack = &pack_weight,
    .unpack = &unpack_weight,
    .widen = &widen_panel,
};

}  // namespace octavo::cpu
