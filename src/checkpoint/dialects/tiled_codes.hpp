// SPDX-License-Identifier: Apache-2.0
// int8 codes in the tiled orders of cuBLASLt, which bitsandbytes 0.39.1 to 0.44.1 left in files
// that were saved after a forward pass on Turing and Ampere.
#pragma once

#include <cstdint>
#include <string_view>

#include "octavo/tensor.hpp"

namespace octavo::checkpoint {

/// How the elements of a matrix lie in memory, numbered as bitsandbytes' "weight_format" is.
/// Tiles go down a panel of 32 columns first, then to the next panel.
enum class CodeOrder : std::uint8_t {
  row,         ///< row-major
  col32,       ///< CUBLASLT_ORDER_COL32: a panel holds its rows of 32 columns
  col_turing,  ///< CUBLASLT_ORDER_COL4_4R2_8C: tiles of 8 x 32
  col_ampere,  ///< CUBLASLT_ORDER_COL32_2R_4R4: tiles of 32 x 32
};
inline constexpr std::int64_t kCodeOrders = 4;

/// "row", "col32", ...
std::string_view order_name(CodeOrder order) noexcept;

/// Rows of a tile: a matrix is stored with its rows padded to a multiple of it.
std::int64_t tile_rows(CodeOrder order) noexcept;

inline constexpr std::int64_t kPanelColumns = 32;  ///< columns are padded to a multiple of it

/// Where element (row, column) lies in a matrix of `stored_rows` rows, a multiple of tile_rows.
std::int64_t element_offset(CodeOrder order, std::int64_t stored_rows, std::int64_t row,
                            std::int64_t column) noexcept;

/// The first n rows of `stored`, bytes [tiled rows, tiled columns] of that order, row by row.
/// n is at most the stored rows, whose multiples the shape has to keep.
Tensor row_major(CodeOrder order, const Tensor& stored, std::int64_t n);

}  // namespace octavo::checkpoint
