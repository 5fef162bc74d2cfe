// SPDX-License-Identifier: Apache-2.0
// GPTQ (Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
// Transformers", arXiv 2210.17323, algorithm 1) of int8 rows.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace octavo::checkpoint {

/// Columns whose rounding errors go to the columns behind them in one product.
inline constexpr std::int64_t kGptqColumns = 128;
/// Rows that one thread works on at a time.
inline constexpr std::int64_t kGptqRows = 64;

/// Rows of a weight under one scale each, and the codes that stand for them.
struct GptqRows {
  const float* weight;  ///< [rows, k]
  const float* scale;   ///< [rows]: a code's value is code * scale
  const float* stored;  ///< [rows]: what `code` takes beside a weight
  std::int8_t* codes;   ///< [rows, k]: written
  std::int64_t rows;
  float (*code)(float weight, float stored);  ///< to nearest, -128..127
};

/// H = 2/n X^T X of a layer's n inputs [K], and what GPTQ takes from it: the upper triangle U of
/// Cholesky's factorisation of (H + damp mean(diag H) I)^-1 = U^T U. Takes 8 K^2 bytes.
///
/// A column that was 0 in all inputs has nothing to do with the others: its codes are those to
/// nearest. It does not count for the mean.
class InputHessian {
 public:
  /// lower: [K, K], of which the lower triangle counts and the rest is overwritten; its diagonal is
  /// not below 0. Throws Error (unsupported: no LAPACK; corrupt_data: not positive definite with
  /// that damp).
  InputHessian(std::vector<double> lower, std::int64_t k, double damp, std::string_view tensor);

  /// Codes by GPTQ, -127..127: rows do not depend on each other. Throws nothing but bad_alloc.
  void quantize(const GptqRows& rows) const;
  /// The mean of |(w - w') x|^2 over the inputs, summed over rows whose codes are there.
  double output_error(const GptqRows& rows) const;

 private:
  double at(std::int64_t i, std::int64_t j) const noexcept {
    return a_[static_cast<std::size_t>(i * k_ + j)];
  }

  std::int64_t k_;
  std::vector<double> a_;         ///< [K, K]: U above and on the diagonal, H / unit_ below
  std::vector<double> diagonal_;  ///< of H / unit_
  double unit_ = 1;               ///< the mean of H's diagonal
};

/// What GPTQ of a layer [n, k] holds in memory on that many threads.
std::int64_t gptq_memory(std::int64_t n, std::int64_t k, int threads) noexcept;

}  // namespace octavo::checkpoint
