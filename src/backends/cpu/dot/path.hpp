// SPDX-License-Identifier: Apache-2.0
// Which dot-product kernels a product takes. The choice depends on types, scales and the CPU alone,
// never on M, threads or packing, so that neither do the bits of a floating product; integers,
// whose sums are exact, may take others for few rows, as may weights that other kernels decode to
// the same elements.
#pragma once

#include "backends/backend.hpp"
#include "backends/cpu/kernels/tile_contract.hpp"

namespace octavo::cpu {

struct DotPath {
  const DotKernels* direct = nullptr;  ///< read B where it is packed; null: it is not, or otherwise
  /// Read panels that are packed on the fly; the same bits.
  const DotKernels* on_the_fly = nullptr;
  const IntegerKernels* integers = nullptr;  ///< null: floats
  const Float8Kernels* float8 = nullptr;     ///< decodes fp8 rows of A; null: another way
  /// Packs a weight of any strides into the panels of `on_the_fly`; null: it is packed, or of a
  /// type that goes through floats.
  void (*pack)(const PackPiece& piece) noexcept = nullptr;
  /// Those that may read B where it lies, for a few rows; null: none do. The same bits.
  const DotKernels* unpacked = nullptr;
  /// The same for more rows; of integers, signed ones.
  const TransposedUnpacked* transposed = nullptr;
  /// What the rows of A hold: a type of 8 bits, as it is, int16, bfloat16 or float32.
  DType rows = DType::undefined;
  bool of_rows = false;      ///< other numbers of rows may have another one
  bool finite_only = false;  ///< `direct` decodes finite codes only

  const DotKernels& kernels() const noexcept { return direct != nullptr ? *direct : *on_the_fly; }
};

/// Does an operand lie [K, N], its neighbours in memory along N alone?
inline bool lies_in_rows(const OperandView& b) noexcept {
  return b.packed == nullptr && b.data.strides[1] == 1 && b.data.strides[0] != 1;
}

/// Null and the path of a member, or one sentence.
const char* find_path(const Member& member, const MatmulOptions& options, const DotMachine& machine,
                      DotPath& path) noexcept;

/// Does the path of a member count numbers below 2^-126 as 0? vdpbf16ps and bfdot do: elements of
/// bfloat16, products and sums of them. fp8 and int8 have no element, and make no product, of that
/// size.
bool flushes(const Member& member, const DotMachine& machine, const DotPath& path) noexcept;

}  // namespace octavo::cpu
