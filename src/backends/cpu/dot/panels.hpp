// SPDX-License-Identifier: Apache-2.0
// Where the vectors of a weight in panels lie.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backends/cpu/kernels/tile_contract.hpp"
#include "octavo/matrix.hpp"

namespace octavo::cpu {

inline constexpr std::int64_t kPanelWidth = kPanelVectors * kVectorCols;

/// Panels of 64 columns, one after the other, the last one of as many vectors as it needs; each
/// [steps][vectors][vector_bytes], padded with zeros.
class Panels {
 public:
  Panels(const void* base, const PanelForm& form, std::int64_t k, std::int64_t n) noexcept
      : base_(static_cast<const char*>(base)),
        vector_bytes_(form.vector_bytes),
        steps_((k + form.step - 1) / form.step),
        vectors_((n + kVectorCols * form.grain - 1) / (kVectorCols * form.grain) * form.grain) {}

  std::int64_t steps() const noexcept { return steps_; }
  std::int64_t vectors() const noexcept { return vectors_; }
  std::int64_t count() const noexcept { return (vectors_ + kPanelVectors - 1) / kPanelVectors; }
  std::int64_t bytes() const noexcept { return vectors_ * steps_ * vector_bytes_; }

  /// Vectors of a panel.
  std::int64_t vectors(std::int64_t panel) const noexcept {
    return std::min(kPanelVectors, vectors_ - panel * kPanelVectors);
  }
  /// Bytes from one of its steps to the next.
  std::int64_t step_bytes(std::int64_t panel) const noexcept {
    return vectors(panel) * vector_bytes_;
  }
  const char* at(std::int64_t panel, std::int64_t step) const noexcept {
    return base_ + panel * kPanelVectors * steps_ * vector_bytes_ + step * step_bytes(panel);
  }
  /// What lies behind the last panel.
  const char* end() const noexcept { return base_ + bytes(); }

 private:
  const char* base_;
  std::int64_t vector_bytes_, steps_, vectors_;
};

/// What packs all of a panel of a weight to `out`: its codes alone.
inline PackPiece panel_piece(const MatrixView& weight, std::int64_t panel, void* out) noexcept {
  const std::int64_t column = panel * kPanelWidth;
  return {.dtype = weight.dtype,
          .b = weight.at(column * weight.strides[1]),
          .stride_k = weight.strides[0],
          .stride_n = weight.strides[1],
          .depth = weight.shape[0],
          .columns = std::min(kPanelWidth, weight.shape[1] - column),
          .panel = out};
}

}  // namespace octavo::cpu
