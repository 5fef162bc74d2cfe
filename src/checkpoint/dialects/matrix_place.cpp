// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/dialects/matrix_place.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "checkpoint/safetensors/dtype.hpp"

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

constexpr std::int64_t kPanel = 64;  // lines that are in the cache while they are exchanged

/// Panel by panel: the lines are read, then their elements go where they belong.
template <class T>
void read_lines(const Checkpoint::Impl& in, const TensorEntry& entry, const MatrixPlace& place,
                const Tensor& matrix) {
  const Lines lines(place);
  const std::int64_t elements = lines.are_rows ? place.k : place.n;
  const std::int64_t line_step = lines.are_rows ? place.k : 1;
  const std::int64_t element_step = lines.are_rows ? 1 : place.k;
  // Lines of a page each would meet in one set of the cache.
  const std::int64_t pitch = lines.length + std::int64_t{64 / sizeof(T)};
  std::vector<T> panel(static_cast<std::size_t>(std::min(kPanel, lines.count) * pitch));
  for (std::int64_t first = 0; first < lines.count; first += kPanel) {
    const std::int64_t count = std::min(kPanel, lines.count - first);
    for (std::int64_t line = 0; line < count; ++line) {
      const std::span own = std::span(panel).subspan(static_cast<std::size_t>(line * pitch),
                                                     static_cast<std::size_t>(lines.length));
      in.read(entry, (place.begin + (first + line) * lines.distance) * std::int64_t{sizeof(T)},
              std::as_writable_bytes(own));
    }
    T* to = matrix.data_as<T>() + first * line_step;
    for (std::int64_t i = 0; i < elements; ++i) {
      const T* from = panel.data() + i * lines.step;
      for (std::int64_t line = 0; line < count; ++line) {
        to[i * element_step + line * line_step] = from[line * pitch];
      }
    }
  }
}

}  // namespace

Tensor outline(const CodesInPlace& codes) {
  return Tensor::adopt(nullptr,
                       {nullptr, dtype_of_name(codes.entry->dtype), {codes.at.n, codes.at.k}});
}

MatrixPlace whole_matrix(const TensorEntry& entry) {
  return {.n = entry.shape[0], .k = entry.shape[1], .row_step = entry.shape[1]};
}

MatrixPlace rows_of(const MatrixPlace& all, std::int64_t first, std::int64_t rows) {
  MatrixPlace some = all;
  some.begin += first * all.row_step;
  some.n = std::min(rows, all.n - first);
  return some;
}

MatrixPlace columns_of(const MatrixPlace& all, std::int64_t first, std::int64_t columns) {
  return transposed(rows_of(transposed(all), first, columns));
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
  return std::min(kPanel, lines.count) * lines.length * element_bytes;
}

Tensor read_matrix(const Checkpoint::Impl& in, const TensorEntry& entry, const MatrixPlace& place) {
  const DType dtype = dtype_of_name(entry.dtype);
  const Tensor matrix = Tensor::empty(dtype, {place.n, place.k});
  if (matrix.numel() == 0) return matrix;
  const std::int64_t bytes = element_bytes(dtype);
  if (is_dense(place)) {
    in.read(entry, place.begin * bytes,
            {matrix.data_as<std::byte>(), static_cast<std::size_t>(matrix.numel() * bytes)});
  } else if (bytes == 1) {
    read_lines<std::uint8_t>(in, entry, place, matrix);
  } else if (bytes == 2) {
    read_lines<std::uint16_t>(in, entry, place, matrix);
  } else {
    read_lines<std::uint32_t>(in, entry, place, matrix);
  }
  return matrix;
}

}  // namespace octavo::checkpoint
