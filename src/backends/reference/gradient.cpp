// SPDX-License-Identifier: Apache-2.0
// What gradients need beside products, one element at a time.
#include "backends/reference/reference.hpp"
#include "core/data/element.hpp"
#include "core/fp_env.hpp"
#include "core/scales/scale_values.hpp"

namespace octavo::reference {
namespace {

double shifted(const MatrixView& x, std::int64_t azp, std::int64_t i, std::int64_t j) {
  return static_cast<double>(load_float(x, i, j)) - static_cast<double>(azp);
}

std::int64_t azp_at(const ScaleView& azp, std::int64_t i, std::int64_t j) {
  if (!azp.present()) return 0;
  return load_int(azp.data, (azp.row0 + i) / azp.rows, (azp.col0 + j) / azp.cols);
}

}  // namespace

Status rescale(const RescaleProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const MatrixView& out = p.out;
  for (std::int64_t i = 0; i < p.source.shape[0]; ++i) {
    for (std::int64_t j = 0; j < p.source.shape[1]; ++j) {
      auto x = static_cast<float>(shifted(p.source, azp_at(p.azp, i, j), i, j));
      if (p.divisor != 1.0F) x /= p.divisor;
      for (const ScaleView& scale : p.scales) {
        if (scale.present()) x *= scale_at(scale, i, j);
      }
      store_float(out.dtype, out.data, i * out.strides[0] + j * out.strides[1], x,
                  Overflow::saturate);
    }
  }
  return {};
}

Status reduce(const ReduceProblem& p, const ExecContext&) noexcept {
  const FloatEnvironment environment;
  const ScaleView& s = p.sums;
  const MatrixView& first = p.factors[0];
  for (std::int64_t i = 0; i < first.shape[0]; ++i) {
    for (std::int64_t j = 0; j < first.shape[1]; ++j) {
      double product = shifted(first, p.azp.defined() ? load_int(p.azp, i, 0) : 0, i, j);
      for (const MatrixView* factor : {&p.factors[1], &p.factors[2]}) {
        if (factor->defined()) product *= static_cast<double>(load_float(*factor, i, j));
      }
      if (p.weight.present()) product *= static_cast<double>(scale_at(p.weight, i, j));
      const std::int64_t row = (s.row0 + i) / s.rows * s.data.strides[0];
      *static_cast<double*>(s.data.at(row + (s.col0 + j) / s.cols * s.data.strides[1])) += product;
    }
  }
  return {};
}

}  // namespace octavo::reference
