// SPDX-License-Identifier: Apache-2.0
// Packing, unpacking and widening panels of int8.
#include "backends/cpu/dot_layout.hpp"

#include <algorithm>
#include <cstring>

#include "core/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kPanelCols = kPanelVectors * kVectorCols;

std::size_t bytes(DType, std::int64_t k, std::int64_t n) noexcept {
  return static_cast<std::size_t>(dot_vectors(n) * kVectorCols * (dot_steps(k) + 1) * kStep);
}

void pack(const TensorView& weight, void* packed, const ExecContext& context) noexcept {
  const std::int64_t k = weight.shape[0];
  const std::int64_t n = weight.shape[1];
  const DotPanels panels(packed, k, n);
  parallel_for(context, (n + kPanelCols - 1) / kPanelCols, [&](std::int64_t panel) {
    const std::int64_t first = panel * kPanelVectors;
    const std::int64_t column = panel * kPanelCols;
    // The block is ours to write; DotPanels reads.
    auto* sums = const_cast<std::int32_t*>(panels.sums(first));      // NOLINT
    auto* codes = const_cast<std::int8_t*>(panels.codes(first, 0));  // NOLINT
    std::fill_n(sums, panels.vectors(first) * kVectorCols, 0);
    usable_dot_kernels().front()->pack(
        {.b = static_cast<const std::int8_t*>(weight.at(column * weight.strides[1])),
         .stride_k = weight.strides[0],
         .stride_n = weight.strides[1],
         .depth = k,
         .columns = std::min(kPanelCols, n - column),
         .panel = codes,
         .sums = sums});
  });
}

// The byte of element (k, n).
const std::int8_t* place(const DotPanels& panels, std::int64_t k, std::int64_t n) noexcept {
  const std::int64_t first = n / kPanelCols * kPanelVectors;
  return panels.codes(first, k / kStep) + n % kPanelCols * kStep + k % kStep;
}

void unpack(const PackedWeightData& packed, const TensorView& weight,
            const ExecContext& context) noexcept {
  const DotPanels panels(packed.codes.data(), packed.k, packed.n);
  parallel_for(context, packed.n, [&](std::int64_t n) {
    const std::int64_t first = n / kPanelCols * kPanelVectors;
    const std::int64_t step_bytes = panels.vectors(first) * kVectorCols * kStep;
    const std::int8_t* from = place(panels, 0, n);
    for (std::int64_t k = 0; k < packed.k; k += kStep, from += step_bytes) {
      void* to = weight.at(k * weight.strides[0] + n * weight.strides[1]);
      const std::int64_t count = std::min(kStep, packed.k - k);
      if (count == kStep && weight.strides[0] == 1) {
        std::memcpy(to, from, kStep);
        continue;
      }
      for (std::int64_t i = 0; i < count; ++i) {
        static_cast<std::int8_t*>(to)[i * weight.strides[0]] = from[i];
      }
    }
  });
}

void widen(const PackedWeightData& packed, std::int64_t k0, std::int64_t k1, std::int64_t n0,
           float* out) noexcept {
  const DotPanels panels(packed.codes.data(), packed.k, packed.n);
  for (std::int64_t k = k0; k < k1; ++k, out += kVectorCols) {
    const std::int8_t* from = place(panels, k, n0);
    for (std::int64_t j = 0; j < kVectorCols; ++j) out[j] = static_cast<float>(from[j * kStep]);
  }
}

}  // namespace

const WeightLayout kDotLayout{
    .name = "avx512",
    .version = 1,
    .bytes = &bytes,
    .pack = &pack,
    .unpack = &unpack,
    .widen = &widen,
};

}  // namespace octavo::cpu
