// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/matrix_place.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "checkpoint/safetensors_dtype.hpp"
#include "core/convert.hpp"

namespace octavo::checkpoint {
namespace {

bool is_dense(const MatrixPlace& place) {
  return place.column_step == 1 && (place.row_step == place.k || place.n == 1);
}

/// Lines along the smaller step, each read in one go with what lies between its elements.
struct Lines {
  explicit Lines(const MatrixPlace& place)
      : are_rows(place.column_step <= place.row_step),
        count(are_rows ? place.n : place.k),
        distance(are_rows ? place.row_step : place.column_step),
        step(are_rows ? place.column_step : place.row_step),
        length(((are_rows ? place.k : place.n) - 1) * step + 1) {}
  bool are_rows;
  std::int64_t count, distance, step, length;
};

}  // namespace

MatrixPlace whole_matrix(const TensorEntry& entry) {
  return {.n = entry.shape[0], .k = entry.shape[1], .row_step = entry.shape[1]};
}

MatrixPlace rows_of(const MatrixPlace& all, std::int64_t first, std::int64_t rows) {
  MatrixPlace some = all;
  some.begin += first * all.row_step;
  some.n = std::min(rows, all.n - first);
  return some;
}

MatrixPlace transposed(const MatrixPlace& place) {
  return {place.k, place.n, place.begin, place.column_step, place.row_step};
}

std::int64_t least_rows(const MatrixPlace& place, std::int64_t element_bytes) {
  constexpr std::int64_t kPage = 4096;
  if (place.column_step <= place.row_step) return 1;
  return std::max<std::int64_t>(1, kPage / (place.row_step * element_bytes));
}

std::int64_t extra_bytes(const MatrixPlace& place, std::int64_t element_bytes) {
  if (place.n == 0 || place.k == 0 || is_dense(place)) return 0;
  const Lines lines(place);
  return lines.count * lines.length * element_bytes;
}

Tensor read_matrix(const Checkpoint::Impl& in, const TensorEntry& entry, const MatrixPlace& place) {
  const DType dtype = dtype_of_name(entry.dtype);
  const std::int64_t bytes = element_bytes(dtype);
  const Tensor matrix = Tensor::empty(dtype, {place.n, place.k});
  if (matrix.numel() == 0) return matrix;
  if (is_dense(place)) {
    in.read(entry, place.begin * bytes,
            {matrix.data_as<std::byte>(), static_cast<std::size_t>(matrix.numel() * bytes)});
    return matrix;
  }
  const Lines lines(place);
  const auto line_bytes = static_cast<std::size_t>(lines.length * bytes);
  std::vector<std::byte> stored(static_cast<std::size_t>(lines.count) * line_bytes);
  for (std::int64_t line = 0; line < lines.count; ++line) {
    in.read(entry, (place.begin + line * lines.distance) * bytes,
            std::span(stored).subspan(static_cast<std::size_t>(line) * line_bytes, line_bytes));
  }
  TensorView view(stored.data(), dtype, {place.n, place.k});
  view.strides[lines.are_rows ? 0 : 1] = lines.length;
  view.strides[lines.are_rows ? 1 : 0] = lines.step;
  copy_elements(view, matrix);
  return matrix;
}

}  // namespace octavo::checkpoint
