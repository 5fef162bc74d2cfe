// SPDX-License-Identifier: Apache-2.0
// Packing, unpacking and widening panels of int8.
#include "backends/cpu/dot/int8_layout.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "backends/cpu/dot/machines.hpp"
#include "backends/cpu/kernels/row_contract.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::cpu {
namespace {

constexpr std::int64_t kStep = kInt8Form.step;

std::size_t bytes(DType, std::int64_t k, std::int64_t n) noexcept {
  const Panels panels = int8_panels(nullptr, k, n);
  return static_cast<std::size_t>(panels.bytes() + panels.vectors() * kVectorCols * 4);
}

Status pack(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  const std::int64_t k = weight.shape[0];
  const std::int64_t n = weight.shape[1];
  const Panels panels = int8_panels(packed, k, n);
  parallel_for(context, panels.count(), [&](std::int64_t panel) {
    // The block is ours to write; Panels reads.
    auto* sums = const_cast<std::int32_t*>(column_sums(panels, panel));  // NOLINT
    char* codes = const_cast<char*>(panels.at(panel, 0));                // NOLINT
    std::fill_n(sums, panels.vectors(panel) * kVectorCols, 0);
    PackPiece piece = panel_piece(weight, panel, codes);
    piece.sums = sums;
    packer_of_int8(dot_machine())->dot.pack(piece);
  });
  return {};
}

// The byte of element (k, n).
const char* place(const Panels& panels, std::int64_t k, std::int64_t n) noexcept {
  return panels.at(n / kPanelWidth, k / kStep) + n % kPanelWidth * kStep + k % kStep;
}

Status unpack(const PackedWeightData& packed, const MatrixView& weight,
              const ExecContext& context) noexcept {
  const Panels panels = int8_panels(packed.codes.data(), packed.k, packed.n);
  const std::int64_t vectors = (packed.n + kVectorCols - 1) / kVectorCols;
  parallel_for(context, vectors, [&](std::int64_t vector) {
    const std::int64_t n0 = vector * kVectorCols;
    const std::int64_t n1 = std::min(n0 + kVectorCols, packed.n);
    constexpr std::int64_t kSquare = kVectorCols * kStep;  // along k
    std::int64_t k0 = 0;
    if (n1 - n0 == kVectorCols && weight.strides[0] == 1) {
      k0 = packed.k / kSquare * kSquare;
      packer_of_int8(dot_machine())
          ->unpack({.panel = place(panels, 0, n0),
                    .step_bytes = panels.step_bytes(n0 / kPanelWidth),
                    .squares = k0 / kSquare,
                    .b = static_cast<std::int8_t*>(weight.at(n0 * weight.strides[1])),
                    .stride_n = weight.strides[1]});
    }
    if (std::abs(weight.strides[1]) < std::abs(weight.strides[0])) {
      for (std::int64_t k = k0; k < packed.k; ++k) {
        const char* codes = place(panels, k, n0);
        auto* row = static_cast<char*>(weight.at(k * weight.strides[0] + n0 * weight.strides[1]));
        for (std::int64_t j = 0; j < n1 - n0; ++j) row[j * weight.strides[1]] = codes[j * kStep];
      }
      return;
    }
    for (std::int64_t n = n0; n < n1; ++n) {
      for (std::int64_t k = k0; k < packed.k; ++k) {
        *static_cast<char*>(weight.at(k * weight.strides[0] + n * weight.strides[1])) =
            *place(panels, k, n);
      }
    }
  });
  return {};
}

void widen(const PackedWeightData& packed, std::int64_t k0, std::int64_t k1, std::int64_t n0,
           float* out) noexcept {
  const Panels panels = int8_panels(packed.codes.data(), packed.k, packed.n);
  const std::int64_t step_bytes = panels.step_bytes(n0 / kPanelWidth);
  std::int64_t k = k0;
  // A word holds four rows of its column; its bytes count from the low end.
  std::int32_t words[kVectorCols];
  const auto put = [&](std::int64_t i) {
    const auto up = static_cast<int>(24 - 8 * i);
    for (std::int64_t j = 0; j < kVectorCols; ++j) {
      const auto raised = static_cast<std::int32_t>(static_cast<std::uint32_t>(words[j]) << up);
      out[j] = static_cast<float>(raised >> 24);
    }
    out += kVectorCols;
  };
  const auto one = [&] {
    std::memcpy(words, place(panels, k - k % kStep, n0), sizeof(words));
    put(k++ % kStep);
  };
  while (k < k1 && k % kStep != 0) one();
  for (const char* from = place(panels, k, n0); k + kStep <= k1; k += kStep, from += step_bytes) {
    std::memcpy(words, from, sizeof(words));
    for (std::int64_t i = 0; i < kStep; ++i) put(i);
  }
  while (k < k1) one();
}

}  // namespace

const WeightLayout kInt8Layout{
    .name = "i8x4",
    .version = 1,
    .bytes = &bytes,
    .pack = &pack,
    .unpack = &unpack,
    .widen = &widen,
};

}  // namespace octavo::cpu
