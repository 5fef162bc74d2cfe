// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/calibrated/gptq.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "checkpoint/calibrated/lapack.hpp"
#include "checkpoint/text/sentence.hpp"

namespace octavo::checkpoint {
namespace {

constexpr float kLargest = 127.0F;  // of symmetric codes

}  // namespace

InputHessian::InputHessian(std::vector<double> lower, std::int64_t k, double damp,
                           std::string_view tensor)
    : k_(k), a_(std::move(lower)), diagonal_(static_cast<std::size_t>(k)) {
  const Lapack& library = lapack();
  double sum = 0;
  std::int64_t live = 0;
  for (std::int64_t i = 0; i < k; ++i) {
    sum += at(i, i);
    live += at(i, i) > 0 ? 1 : 0;
  }
  if (live > 0) unit_ = sum / static_cast<double>(live);
  for (double& value : a_) value /= unit_;
  for (std::int64_t i = 0; i < k; ++i) diagonal_[static_cast<std::size_t>(i)] = at(i, i);
  for (std::int64_t i = 0; i < k; ++i) {
    const bool dead = at(i, i) == 0;
    for (std::int64_t j = 0; j < i; ++j) {
      double& h = a_[static_cast<std::size_t>(i * k + j)];
      if (dead || at(j, j) == 0) h = 0;
      a_[static_cast<std::size_t>(j * k + i)] = h;
    }
  }
  for (std::int64_t i = 0; i < k; ++i) {
    double& h = a_[static_cast<std::size_t>(i * k + i)];
    h = (h == 0 ? 1.0 : h) + damp;
  }
  // What Fortran calls the lower triangle is the upper one here: L L^T is U^T U.
  const int n = static_cast<int>(k);
  int info = 0;
  library.dpotrf("L", &n, a_.data(), &n, &info, 1);
  if (info == 0) library.dpotri("L", &n, a_.data(), &n, &info, 1);
  if (info == 0) library.dpotrf("L", &n, a_.data(), &n, &info, 1);
  if (info != 0) {
    refuse(Code::corrupt_data,
           "quantize_file: tensor {}, a Hessian, must be positive definite with damp {}; got a "
           "leading minor of {} columns that is not (a larger damp may help)",
           in_quotes(tensor), damp, info);
  }
}

void InputHessian::quantize(const GptqRows& rows) const {
  const double one = 1, minus_one = -1;
  const int k = static_cast<int>(k_), count = static_cast<int>(rows.rows);
  std::vector<double> w(rows.weight, rows.weight + rows.rows * k_);
  std::vector<double> errors(static_cast<std::size_t>(rows.rows * kGptqColumns));
  for (std::int64_t begin = 0; begin < k_; begin += kGptqColumns) {
    const std::int64_t end = std::min(k_, begin + kGptqColumns);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      double* row = w.data() + r * k_;
      double* error = errors.data() + r * kGptqColumns;
      for (std::int64_t c = begin; c < end; ++c) {
        const float code =
            std::clamp(rows.code(static_cast<float>(row[c]), rows.stored[r]), -kLargest, kLargest);
        rows.codes[r * k_ + c] = static_cast<std::int8_t>(code);
        const double value = static_cast<double>(code) * static_cast<double>(rows.scale[r]);
        const double* u = a_.data() + c * k_;
        error[c - begin] = (row[c] - value) / u[c];
        for (std::int64_t j = c + 1; j < end; ++j) row[j] -= error[c - begin] * u[j];
      }
    }
    if (end == k_) break;
    const int behind = static_cast<int>(k_ - end), width = static_cast<int>(end - begin);
    const int lead = static_cast<int>(kGptqColumns);
    lapack().dgemm("N", "N", &behind, &count, &width, &minus_one, a_.data() + begin * k_ + end, &k,
                   errors.data(), &lead, &one, w.data() + end, &k, 1, 1);
  }
}

double InputHessian::output_error(const GptqRows& rows) const {
  const auto size = static_cast<std::size_t>(rows.rows * k_);
  std::vector<double> e(size);
  for (std::size_t i = 0; i < size; ++i) {
    const auto r = i / static_cast<std::size_t>(k_);
    e[i] = rows.weight[i] - static_cast<double>(rows.codes[i]) * static_cast<double>(rows.scale[r]);
  }
  // e + L e for what is strictly below the diagonal: e^T H e = e^T D e + 2 e^T L e.
  std::vector<double> product = e;
  const double one = 1;
  const int k = static_cast<int>(k_), count = static_cast<int>(rows.rows);
  lapack().dtrmm("L", "U", "T", "U", &k, &count, &one, a_.data(), &k, product.data(), &k, 1, 1, 1,
                 1);
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    const double d = diagonal_[i % static_cast<std::size_t>(k_)];
    sum += e[i] * (d * e[i] + 2 * (product[i] - e[i]));
  }
  return std::max(0.0, sum) * unit_ / 2;  // H has a factor of 2
}

std::int64_t gptq_memory(std::int64_t n, std::int64_t k, int threads) noexcept {
  const auto rows = static_cast<double>(std::min(n, kGptqRows));
  const double hessian = 8.0 * static_cast<double>(k) * static_cast<double>(k);
  // The weight as stored and in float32, and its codes twice.
  const double weight = (4.0 + 4.0 + 2.0) * static_cast<double>(n) * static_cast<double>(k);
  const double blocks = 8.0 * threads * rows * (2.0 * static_cast<double>(k) + kGptqColumns);
  return static_cast<std::int64_t>(
      std::min(hessian + weight + blocks,
               static_cast<double>(std::numeric_limits<std::int64_t>::max() / 2)));
}

}  // namespace octavo::checkpoint
