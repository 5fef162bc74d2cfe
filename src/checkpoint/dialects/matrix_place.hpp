// SPDX-License-Identifier: Apache-2.0
// Matrices that lie in a tensor of a file with strides: rows of a stack, transposed, interleaved.
#pragma once

#include <cstdint>

#include "checkpoint/open/open_checkpoint.hpp"
#include "octavo/checkpoint/linear_layers.hpp"

namespace octavo::checkpoint {

/// Codes that are left in place: a weight then has their extents and type, and no memory.
struct CodesInPlace {
  const TensorEntry* entry = nullptr;  ///< null: the reader needed them, and the weight has them
  MatrixPlace at;
};
Tensor outline(const CodesInPlace& codes);

/// All of a tensor [n, k].
MatrixPlace whole_matrix(const TensorEntry& entry);
/// Some rows of a matrix.
MatrixPlace rows_of(const MatrixPlace& all, std::int64_t first, std::int64_t rows);
/// Some columns of a matrix.
MatrixPlace columns_of(const MatrixPlace& all, std::int64_t first, std::int64_t columns);
/// Rows and columns exchanged.
MatrixPlace transposed(const MatrixPlace& place);

/// Rows to read together, so that a read is not shorter than a page where columns lie apart.
std::int64_t least_rows(const MatrixPlace& place, std::int64_t element_bytes);
/// Bytes that reading it takes in memory beside the matrix itself.
std::int64_t extra_bytes(const MatrixPlace& place, std::int64_t element_bytes);

/// The elements [n, k] of a tensor, row-major, in its own type. Throws Error (io).
Tensor read_matrix(const Checkpoint::Impl& in, const TensorEntry& entry, const MatrixPlace& place);

}  // namespace octavo::checkpoint
