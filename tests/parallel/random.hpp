// SPDX-License-Identifier: Apache-2.0
// Random layers, and whether results are the same.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "octavo/octavo.hpp"

namespace octavo::test {

/// Numbers and tensors that all ranks throw alike.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  std::int64_t number(std::int64_t most) {
    return static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(most + 1));
  }
  Tensor floats(DType dtype, std::vector<std::int64_t> shape) {
    const Tensor wide = Tensor::empty(DType::float32, shape);
    for (std::int64_t i = 0; i < wide.numel(); ++i) {
      wide.data_as<float>()[i] = normal_(engine_);
    }
    return wide.to(dtype);
  }

 private:
  std::mt19937_64 engine_;
  std::normal_distribution<float> normal_{0.0F, 1.0F};
};

/// Some rows with a NaN or an infinity, one of zeros, one that is 0 but at one place.
inline void disturb(const Tensor& x, Dice& dice) {
  const std::int64_t m = x.size(0);
  const std::int64_t k = x.size(1);
  if (m == 0 || k == 0) return;
  float* values = x.data_as<float>();
  const auto row = [&] { return values + dice.number(m - 1) * k; };
  std::fill_n(row(), k, 0.0F);
  float* lonely = row();
  std::fill_n(lonely, k, 0.0F);
  lonely[dice.number(k - 1)] = 0.001F;
  if (dice.number(2) == 0) row()[dice.number(k - 1)] = std::numeric_limits<float>::quiet_NaN();
  if (dice.number(4) == 0) row()[dice.number(k - 1)] = -std::numeric_limits<float>::infinity();
}

/// Any NaN for any NaN.
inline bool same(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(DType::float32), y = b.to(DType::float32);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const float p = x.data_as<float>()[i], q = y.data_as<float>()[i];
    if (std::isnan(p) && std::isnan(q)) continue;
    if (std::memcmp(&p, &q, sizeof p) != 0) return false;
  }
  return x.numel() == y.numel();
}

}  // namespace octavo::test
