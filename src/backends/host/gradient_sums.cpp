// SPDX-License-Identifier: Apache-2.0
// What gradients do to sums, zero points and results that saturated.
#include <algorithm>
#include <cmath>

#include "backends/host/passes.hpp"
#include "core/data/element.hpp"
#include "core/error.hpp"
#include "core/scales/scale_values.hpp"
#include "core/threads/parallel.hpp"

namespace octavo::host {
namespace {

std::int64_t place(const MatrixView& v, std::int64_t i, std::int64_t j) noexcept {
  return i * v.strides[0] + j * v.strides[1];
}

double& sum_at(const MatrixView& sums, std::int64_t i, std::int64_t j) noexcept {
  return *static_cast<double*>(sums.at(place(sums, i, j)));
}

void store(const MatrixView& to, std::int64_t i, std::int64_t j, float value) noexcept {
  store_float(to.dtype, to.data, place(to, i, j), value, Overflow::saturate);
}

}  // namespace

Status mask(const MaskProblem& p, const ExecContext& context) noexcept {
  const std::int64_t rows = p.out.shape[0];
  const std::int64_t columns = p.out.shape[1];
  for_each_band(context, bands_of(context, rows, rows * columns), rows,
                [&](std::int64_t, std::int64_t begin, std::int64_t end) {
                  for (std::int64_t i = begin; i < end; ++i) {
                    for (std::int64_t j = 0; j < columns; ++j) {
                      const float y = load_float(p.value, i, j) * factor_at(p.scale, j);
                      const bool inside = y >= p.low && y <= p.high;
                      store(p.out, i, j, inside ? load_float(p.grad, i, j) : 0.0F);
                    }
                  }
                });
  return {};
}

Status dequantize_sums(const DequantizeSumsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.plain.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.plain.shape[1]; ++j) {
      const double sum = sum_at(p.plain, i, j);
      if (p.coded.defined()) {
        sum_at(p.coded, i, j) -= static_cast<double>(load_int(p.azp, i, j)) * sum;
      }
      if (!p.azp_gradient.defined()) continue;
      const double gradient = -sum * static_cast<double>(load_float(p.scale, i, j));
      store(p.azp_gradient, i, j, static_cast<float>(gradient));
    }
  }
  return {};
}

Status split_zero_points(const SplitZeroPointsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  for (std::int64_t i = 0; i < p.near.shape[0]; ++i) {
    const std::int64_t azp = load_int(p.azp, i, 0);
    const std::int64_t near = std::clamp(azp, p.low, p.low + 255);
    store_int32(p.near.data, place(p.near, i, 0), static_cast<std::int32_t>(near));
    store(p.rest, i, 0, static_cast<float>(near - azp));
  }
  return {};
}

Status split_sums(const SplitSumsProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& pieces = p.pieces;
  for (std::int64_t i = 0; i < pieces.shape[0]; ++i) {
    double left = sum_at(p.sums, i, 0);
    for (std::int64_t j = 0; j < pieces.shape[1]; ++j) {
      store_float(pieces.dtype, pieces.data, place(pieces, i, j), static_cast<float>(left),
                  Overflow::ieee);
      const double stored = static_cast<double>(load_float(pieces, i, j));
      left = std::isfinite(stored) ? left - stored : 0.0;
    }
  }
  return {};
}

}  // namespace octavo::host
