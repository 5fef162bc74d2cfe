// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/products/rows_layout.hpp"

#include <cstddef>

#include "backends/cuda/passes/passes.hpp"

namespace octavo::cuda {
namespace {

MatrixView rows_at(void* data, DType dtype, std::int64_t k, std::int64_t n,
                   const Device& device) noexcept {
  MatrixView rows;
  rows.data = data;
  rows.dtype = dtype;
  rows.device = device;
  rows.shape = {n, k};
  rows.strides = {row_pitch(dtype, k), 1};
  return rows;
}

std::int64_t bytes_of_row(DType dtype, std::int64_t k) noexcept {
  return row_pitch(dtype, k) * element_bytes(dtype);
}
std::int64_t bytes_of_rows(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return n * bytes_of_row(dtype, k);
}
bool has_sums(DType dtype) noexcept { return is_integer8(dtype); }

std::size_t packed_bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  const std::int64_t sums = has_sums(dtype) ? n * std::int64_t{sizeof(std::int32_t)} : 0;
  return static_cast<std::size_t>(bytes_of_rows(dtype, k, n) + sums);
}

std::int32_t* sums_at(void* packed, DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return reinterpret_cast<std::int32_t*>(static_cast<std::byte*>(packed) +
                                         bytes_of_rows(dtype, k, n));
}

// What lies behind a row's end is never read: maps end where K does.
Status pack(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  const MatrixView rows =
      rows_at(packed, weight.dtype, weight.shape[0], weight.shape[1], weight.device);
  OCTAVO_TRY(convert(
      {.from = static_cast<TensorView>(weight.transposed()), .to = static_cast<TensorView>(rows)},
      context));
  if (!has_sums(weight.dtype)) return {};
  return line_sums(rows, sums_at(packed, weight.dtype, weight.shape[0], weight.shape[1]), context);
}

Status unpack(const PackedWeightData& packed, const MatrixView& weight,
              const ExecContext& context) noexcept {
  return convert({.from = static_cast<TensorView>(packed_rows(packed).transposed()),
                  .to = static_cast<TensorView>(weight)},
                 context);
}

}  // namespace

std::int64_t row_pitch(DType dtype, std::int64_t columns) noexcept {
  const std::int64_t to = kMapAlignment / element_bytes(dtype);
  return (columns + to - 1) / to * to;
}

MatrixView packed_rows(const PackedWeightData& packed) noexcept {
  return rows_at(packed.codes.data(), packed.dtype, packed.k, packed.n, packed.device);
}

const std::int32_t* packed_sums(const PackedWeightData& packed) noexcept {
  if (!has_sums(packed.dtype)) return nullptr;
  return sums_at(packed.codes.data(), packed.dtype, packed.k, packed.n);
}

const WeightLayout kRowsLayout{"rows16", 2, &packed_bytes, &pack, &unpack, nullptr, &bytes_of_row};

}  // namespace octavo::cuda
