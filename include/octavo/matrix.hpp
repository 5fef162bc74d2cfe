// SPDX-License-Identifier: Apache-2.0
// Matrices: what problems are made of once tensors of any rank have been lowered.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "octavo/tensor.hpp"

namespace octavo {

/// Elements at two strides from an address. How many there are follows from what they stand beside:
/// a scale's from the operand, a bias's from the output.
struct Elements {
  void* data = nullptr;                   ///< the first element
  std::array<std::int64_t, 2> strides{};  ///< between rows and between columns, in elements
  DType dtype = DType::undefined;         ///< undefined: there are none
  Device device{};                        ///< where they lie

  Elements() = default;
  /// The last two dimensions of a tensor, at the beginning of all others. A vector is a row, and
  /// every row the same.
  Elements(const TensorView& view) noexcept  // NOLINT: implicit on purpose
      : data(view.data),
        strides{view.rank > 1 ? view.strides[static_cast<std::size_t>(view.rank - 2)] : 0,
                view.rank > 0 ? view.strides[static_cast<std::size_t>(view.rank - 1)] : 0},
        dtype(view.dtype),
        device(view.device) {}
  Elements(const Tensor& tensor) noexcept : Elements(tensor.view()) {}  // NOLINT: implicit

  /// Whether there are any.
  bool defined() const noexcept { return dtype != DType::undefined; }
  /// The address of element `offset` (in elements from the start); null where there is no memory.
  void* at(std::int64_t offset) const noexcept {
    return data == nullptr ? nullptr : static_cast<char*>(data) + offset * element_bytes(dtype);
  }
  void* at(std::int64_t row, std::int64_t column) const noexcept {
    return at(row * strides[0] + column * strides[1]);
  }
  /// The same elements with rows and columns exchanged.
  Elements transposed() const noexcept {
    Elements elements = *this;
    elements.strides = {strides[1], strides[0]};
    return elements;
  }
  /// What begins at that row and column.
  Elements from(std::int64_t row, std::int64_t column) const noexcept {
    Elements elements = *this;
    elements.data = at(row, column);
    return elements;
  }
};

/// A strided view of a matrix that somebody else owns: a TensorView of two dimensions in a third of
/// its size.
struct MatrixView : Elements {
  static constexpr int rank = 2;        ///< of every matrix
  std::array<std::int64_t, 2> shape{};  ///< rows and columns

  MatrixView() = default;
  /// As Elements; a vector is one row.
  MatrixView(const TensorView& view) noexcept  // NOLINT: implicit on purpose
      : Elements(view),
        shape{view.rank > 1 ? view.shape[static_cast<std::size_t>(view.rank - 2)] : 1,
              view.rank > 0 ? view.shape[static_cast<std::size_t>(view.rank - 1)] : 1} {}
  MatrixView(const Tensor& tensor) noexcept : MatrixView(tensor.view()) {}  // NOLINT: implicit
  MatrixView(const Elements& elements, std::int64_t rows, std::int64_t columns) noexcept
      : Elements(elements), shape{rows, columns} {}

  /// The same as a tensor; undefined where it is.
  explicit operator TensorView() const noexcept {
    TensorView view;
    if (!defined()) return view;
    view.data = data;
    view.dtype = dtype;
    view.device = device;
    view.rank = rank;
    view.shape = {shape[0], shape[1]};
    view.strides = {strides[0], strides[1]};
    return view;
  }
  /// How many elements it has.
  std::int64_t numel() const noexcept { return defined() ? shape[0] * shape[1] : 0; }
  /// The same memory with rows and columns exchanged.
  MatrixView transposed() const noexcept {
    MatrixView view = *this;
    view.shape = {shape[1], shape[0]};
    view.strides = {strides[1], strides[0]};
    return view;
  }
  /// The part [begin, end) of rows (dim 0) or columns.
  MatrixView slice(int dim, std::int64_t begin, std::int64_t end) const noexcept {
    MatrixView view = *this;
    const auto d = static_cast<std::size_t>(dim);
    view.data = at(begin * strides[d]);
    view.shape[d] = end - begin;
    return view;
  }
};
static_assert(sizeof(MatrixView) == 48);

}  // namespace octavo
