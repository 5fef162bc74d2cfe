// SPDX-License-Identifier: Apache-2.0
// The orders as NVIDIA documents them (cublasLtOrder_t).
#include "checkpoint/dialects/tiled_codes.hpp"

#include <array>
#include <cstddef>

namespace octavo::checkpoint {
namespace {

struct Order {
  std::string_view name;
  std::int64_t rows;  ///< of a tile
  /// Where (row, column) of a tile lies in it.
  std::int64_t (*within)(std::int64_t row, std::int64_t column) noexcept;
};

std::int64_t by_rows(std::int64_t row, std::int64_t column) noexcept {
  return row * kPanelColumns + column;
}

// The even rows, then the odd ones; each half as blocks of 4 columns, row after row.
std::int64_t turing(std::int64_t row, std::int64_t column) noexcept {
  return row % 2 * 128 + column / 4 * 16 + row / 2 * 4 + column % 4;
}

// Pairs of rows: 0 1 8 9 16 17 24 25, then 2 3 10 11 ...
std::int64_t ampere(std::int64_t row, std::int64_t column) noexcept {
  return by_rows((row % 8 / 2 * 4 + row / 8) * 2 + row % 2, column);
}

constexpr std::array<Order, kCodeOrders> kOrders{{
    {"row", 1, by_rows},  // never asked where an element lies
    {"col32", 1, by_rows},
    {"col_turing", 8, turing},
    {"col_ampere", 32, ampere},
}};

const Order& row_of(CodeOrder order) noexcept { return kOrders[static_cast<std::size_t>(order)]; }

}  // namespace

std::string_view order_name(CodeOrder order) noexcept { return row_of(order).name; }

std::int64_t tile_rows(CodeOrder order) noexcept { return row_of(order).rows; }

std::int64_t element_offset(CodeOrder order, std::int64_t stored_rows, std::int64_t row,
                            std::int64_t column) noexcept {
  const Order& o = row_of(order);
  const std::int64_t panel = column / kPanelColumns * stored_rows * kPanelColumns;
  const std::int64_t tile = row / o.rows * o.rows * kPanelColumns;
  return panel + tile + o.within(row % o.rows, column % kPanelColumns);
}

Tensor row_major(CodeOrder order, const Tensor& stored, std::int64_t n) {
  if (order == CodeOrder::row) return stored;
  const std::int64_t k = stored.size(1);
  Tensor rows = Tensor::empty(stored.dtype(), {n, k});
  const auto* from = static_cast<const std::byte*>(stored.data());
  auto* to = static_cast<std::byte*>(rows.data());
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j) {
      *to++ = from[element_offset(order, stored.size(0), i, j)];
    }
  }
  return rows;
}

}  // namespace octavo::checkpoint
