// SPDX-License-Identifier: Apache-2.0
// Laying out panels.
#include "backends/cpu/pack.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "backends/cpu/rows.hpp"
#include "core/element.hpp"
#include "core/grid.hpp"
#include "core/parallel.hpp"

namespace octavo::cpu {
namespace {

std::int64_t panels_of(std::int64_t n) noexcept { return (n + kPanelCols - 1) / kPanelCols; }

// Calls visit(address in the packed block, k, n) for every element.
template <class Visit>
void for_each_packed(const TensorView& weight, const ExecContext& context,
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
void pack_as(const TensorView& weight, char* packed, const ExecContext& context) noexcept {
  const char* source = static_cast<const char*>(weight.data);
  for_each_packed(weight, context, [=](std::int64_t to, std::int64_t from) {
    std::memcpy(packed + to * std::int64_t{bytes}, source + from * std::int64_t{bytes}, bytes);
  });
}

template <std::size_t bytes>
void unpack_as(const char* packed, const TensorView& weight, const ExecContext& context) noexcept {
  char* target = static_cast<char*>(weight.data);
  for_each_packed(weight, context, [=](std::int64_t from, std::int64_t to) {
    std::memcpy(target + to * std::int64_t{bytes}, packed + from * std::int64_t{bytes}, bytes);
  });
}

const char* packed_panel(const PackedWeightData& w, std::int64_t panel, std::int64_t k) noexcept {
  const std::int64_t element = (panel * w.k + k) * kPanelCols;
  return w.codes.data_as<const char>() + element * element_bytes(w.dtype);
}

void scatter(const float* row, std::int64_t panels, std::int64_t depth, std::int64_t k,
             float* out) noexcept {
  for (std::int64_t p = 0; p < panels; ++p) {
    std::memcpy(out + (p * depth + k) * kPanelCols, row + p * kPanelCols,
                kPanelCols * sizeof(float));
  }
}

std::size_t packed_bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return static_cast<std::size_t>(panels_of(n) * k * kPanelCols * element_bytes(dtype));
}

Status pack_weight(const TensorView& weight, void* packed, const ExecContext& context) noexcept {
  std::memset(packed, 0, packed_bytes(weight.dtype, weight.shape[0], weight.shape[1]));
  char* block = static_cast<char*>(packed);
  const std::int64_t size = element_bytes(weight.dtype);
  (size == 1 ? &pack_as<1> : size == 2 ? &pack_as<2> : &pack_as<4>)(weight, block, context);
  return {};
}

Status unpack_weight(const PackedWeightData& packed, const TensorView& weight,
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
    .name = "generic",
    .version = 1,
    .bytes = &packed_bytes,
    .pack = &pack_weight,
    .unpack = &unpack_weight,
    .widen = &widen_panel,
};

void load_row_panel(const Kernels& kernel, const TensorView& a, std::int64_t row, float* panel,
                    float* scratch) noexcept {
  const std::int64_t rows = kernel.rows;
  const std::int64_t depth = a.shape[1];
  for (std::int64_t i = 0; i < rows; ++i) {
    if (row + i >= a.shape[0]) {
      for (std::int64_t k = 0; k < depth; ++k) panel[k * rows + i] = 0.0F;
      continue;
    }
    widen(kernel, a.dtype, a.at((row + i) * a.strides[0]), a.strides[1], depth, scratch);
    for (std::int64_t k = 0; k < depth; ++k) panel[k * rows + i] = scratch[k];
  }
}

void load_column_panels(const Kernels& kernel, const Operand& b, std::int64_t k0, std::int64_t k1,
                        std::int64_t n0, std::int64_t panels, float* out, float* scratch) noexcept {
  const std::int64_t depth = k1 - k0;
  if (b.packed != nullptr) {
    const PackedWeightData& w = *b.packed->content();
    for (std::int64_t p = 0; p < panels; ++p) {
      w.layout->widen(w, k0, k1, n0 + p * kPanelCols, out + p * depth * kPanelCols);
    }
    return;
  }
  const TensorView& v = b.data;
  const std::int64_t count = std::min(panels * kPanelCols, v.shape[1] - n0);
  if (std::abs(v.strides[1]) <= std::abs(v.strides[0])) {  // rows of B lie together
    std::fill(scratch, scratch + panels * kPanelCols, 0.0F);
    for (std::int64_t k = 0; k < depth; ++k) {
      widen(kernel, v.dtype, v.at((k0 + k) * v.strides[0] + n0 * v.strides[1]), v.strides[1], count,
            scratch);
      scatter(scratch, panels, depth, k, out);
    }
    return;
  }
  for (std::int64_t j = 0; j < panels * kPanelCols; ++j) {
    float* column = out + j / kPanelCols * depth * kPanelCols + j % kPanelCols;
    if (j < count) {
      widen(kernel, v.dtype, v.at(k0 * v.strides[0] + (n0 + j) * v.strides[1]), v.strides[0], depth,
            scratch);
    } else {
      std::fill(scratch, scratch + depth, 0.0F);
    }
    for (std::int64_t k = 0; k < depth; ++k) column[k * kPanelCols] = scratch[k];
  }
}

void subtract_weight_azp(const Operand& b, std::int64_t k0, std::int64_t k1, std::int64_t n0,
                         std::int64_t panels, float* out) noexcept {
  if (!b.azp.defined()) return;
  const std::int64_t depth = k1 - k0;
  const std::int64_t count = std::min(panels * kPanelCols, column_extent(b) - n0);
  for (std::int64_t j = 0; j < count; ++j) {
    float* column = out + j / kPanelCols * depth * kPanelCols + j % kPanelCols;
    for (std::int64_t k = 0; k < depth; ++k) {
      column[k * kPanelCols] -= static_cast<float>(weight_azp_at(b, k0 + k, n0 + j));
    }
  }
}

void load_weight_row(const Operand& b, std::int64_t k, std::int64_t n0, std::int64_t count,
                     float* out) noexcept {
  if (b.packed == nullptr) {
    const TensorView& v = b.data;
    return widen(best_kernels(), v.dtype, v.at(k * v.strides[0] + n0 * v.strides[1]), v.strides[1],
                 count, out);
  }
  const PackedWeightData& w = *b.packed->content();
  std::array<float, static_cast<std::size_t>(kPanelCols)> panel;
  for (std::int64_t j = 0; j < count; j += kPanelCols) {
    w.layout->widen(w, k, k + 1, n0 + j, panel.data());
    std::copy_n(panel.data(), std::min(kPanelCols, count - j), out + j);
  }
}

std::int64_t inner_extent(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->content()->k : b.data.shape[0];
}
std::int64_t column_extent(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->content()->n : b.data.shape[1];
}
DType weight_dtype(const Operand& b) noexcept {
  return b.packed != nullptr ? b.packed->content()->dtype : b.data.dtype;
}

}  // namespace octavo::cpu
