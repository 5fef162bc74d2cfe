// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/rows_layout.hpp"

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

std::size_t packed_bytes(DType dtype, std::int64_t k, std::int64_t n) noexcept {
  return static_cast<std::size_t>(n * row_pitch(dtype, k) * element_bytes(dtype));
}

// What lies behind a row's end is never read: maps end where K does.
Status pack(const MatrixView& weight, void* packed, const ExecContext& context) noexcept {
  const MatrixView rows =
      rows_at(packed, weight.dtype, weight.shape[0], weight.shape[1], weight.device);
  return convert(
      {.from = static_cast<TensorView>(weight.transposed()), .to = static_cast<TensorView>(rows)},
      context);
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

const WeightLayout kRowsLayout{"rows16", 1, &packed_bytes, &pack, &unpack, nullptr};

}  // namespace octavo::cuda
