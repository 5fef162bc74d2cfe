// SPDX-License-Identifier: Apache-2.0
// Matrices that lie in a tensor of a file with strides: rows of a stack, transposed, interleaved.
#pragma once

#include <cstdint>

#include "checkpoint/impl.hpp"
#include "octavo/linear_layers.hpp"

namespace octavo::checkpoint {

/// All of a tensor [n, k].
MatrixPlace whole_matrix(const TensorEntry& entry);
/// Some rows of a matrix.
MatrixPlace rows_of(const MatrixPlace& all, std::int64_t first, std::int64_t rows);
/// Rows and columns exchanged.
MatrixPlace transposed(const MatrixPlace& place);

/// Rows to read together, so that a read is not shorter than a page where columns lie apart.
std::int64_t least_rows(const MatrixPlace& place, std::int64_t element_bytes);
/// Bytes that reading it takes in memory beside the matrix itself.
std::int64_t extra_bytes(const MatrixPlace& place, std::int64_t element_bytes);

/// The elements [n, k] of a tensor, row-major, in its own type. Throws Error (io).
Tensor read_matrix(const Checkpoint::Impl& in, const TensorEntry& entry, const MatrixPlace& place);

}  // namespace octavo::checkpoint
