// SPDX-License-Identifier: Apache-2.0
// What section 3 does to one sum, with every argument that a member can have:
//
//   t *= sa; t += outliers (codes); t *= sb; t += outliers (original weights); t *= alpha
//   t += beta * C; t += bias; t *= scale_result
//
// Each step is rounded by itself. Steps that are absent are there as what changes no bit: a factor
// of 1, an addend of -0.
#pragma once

#include "backends/cuda/kernels/common/elements.hpp"

namespace octavo::cuda {

constexpr float kNoAddend = -0.0F;

/// Scales of A that are constant along K, of one row.
struct RowTerms {
  float scale[2] = {1.0F, 1.0F};
};

/// Scales of B that are constant along K, bias and scale_result of one column.
struct ColumnTerms {
  float scale[2] = {1.0F, 1.0F};
  float bias = kNoAddend;
  float result = 1.0F;
};

/// Sums of outliers: by the weight's codes, and by original weights.
struct OutlierSums {
  float codes = kNoAddend, original = kNoAddend;
};

class Finishing {
 public:
  /// `empty`: a product with K = 0, whose sum meets no scale of an operand and no alpha.
  template <class Machine>
  OCTAVO_DEVICE Finishing(Machine& m, const Member& p, bool empty, bool torch_compat)
      : p_(p), empty_(empty), zero_(empty && torch_compat) {
    const Epilogue& e = p.epilogue;
    if (!empty) alpha_ = read_factor(m, e.alpha, 0);
    has_c_ = e.c.dtype != DType::undefined;
    if (has_c_) beta_ = read_factor(m, e.beta, 0);
    bias_by_rows_ = e.bias.dtype != DType::undefined && e.bias.strides[0] != 0;
  }

  template <class Machine>
  OCTAVO_DEVICE RowTerms row(Machine& m, std::int64_t i) const {
    RowTerms factors;
    for (int level = 0; level < 2 && !empty_; ++level) {
      const ScaleView& scale = p_.a.scale[static_cast<std::size_t>(level)];
      if (is_constant(scale, scale.cols)) factors.scale[level] = read_scale(m, scale, i, 0);
    }
    return factors;
  }

  template <class Machine>
  OCTAVO_DEVICE ColumnTerms column(Machine& m, std::int64_t j) const {
    const Epilogue& e = p_.epilogue;
    ColumnTerms factors;
    for (int level = 0; level < 2 && !empty_; ++level) {
      const ScaleView& scale = p_.b.scale[static_cast<std::size_t>(level)];
      if (is_constant(scale, scale.rows)) factors.scale[level] = read_scale(m, scale, 0, j);
    }
    if (e.bias.dtype != DType::undefined && !bias_by_rows_)
      factors.bias = read_float(m, e.bias, 0, j);
    factors.result = read_factor(m, e.scale_result, j);
    return factors;
  }

  template <class Machine>
  OCTAVO_DEVICE float finish(Machine& m, float t, const RowTerms& row, const ColumnTerms& column,
                             const OutlierSums& outliers, std::int64_t i, std::int64_t j) const {
    if (zero_) return 0.0F;
    t *= row.scale[0];
    t *= row.scale[1];
    t += outliers.codes;
    t *= column.scale[0];
    t *= column.scale[1];
    t += outliers.original;
    t *= alpha_;
    if (has_c_) {
      const float addend = beta_ * read_float(m, p_.epilogue.c, i, j);
      t += addend;
    }
    t += bias_by_rows_ ? read_float(m, p_.epilogue.bias, i, j) : column.bias;
    t *= column.result;
    return t;
  }

 private:
  OCTAVO_DEVICE static bool is_constant(const ScaleView& scale, std::int64_t along_k) {
    return scale.kind != ScaleKind::tensor || along_k == kWholeExtent;
  }

  const Member& p_;
  bool empty_, zero_, has_c_ = false, bias_by_rows_ = false;
  float alpha_ = 1.0F, beta_ = 1.0F;
};

}  // namespace octavo::cuda
