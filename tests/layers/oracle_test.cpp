// SPDX-License-Identifier: Apache-2.0
// fused_experts against the formula in float64, within a bound that follows from the contract.
#include <gtest/gtest.h>

#include <cmath>

#include "layers/compose.hpp"

namespace octavo::test::oracle_test {
namespace {

constexpr std::int64_t kExperts = 4;
constexpr std::int64_t kHidden = 96;
constexpr std::int64_t kInner = 56;
constexpr std::int64_t kSlots = 2;
constexpr std::int64_t kRows = 5;
constexpr double kUnit = 0x1p-24;

// A value and how far a computed one may be off.
struct Near {
  double value = 0.0;
  double off = 0.0;
};

// Stored experts, dequantised.
struct Experts {
  Experts(DType dtype, std::int64_t n, std::int64_t k, bool quantized, unsigned seed)
      : codes(some_experts(dtype, {kExperts, n, k}, seed)),
        scale(uniforms(DType::float32, {kExperts, n}, seed + 9)) {
    PackExpertsOptions options;
    options.scale = scale;
    if (quantized) {
      options.activation.emplace();
      options.activation->spec.dtype = dtype;
    }
    packed = pack_experts(codes, options);
  }
  double at(std::int64_t e, std::int64_t n, std::int64_t k) const {
    return kit::load(codes, (e * packed.n() + n) * packed.k() + k) *
           kit::load(scale, e * packed.n() + n);
  }
  Tensor codes, scale;
  ExpertWeights packed;
};

// Section 9: gamma * sum |a||b|, with what each term was off before.
std::vector<Near> product(const Experts& w, std::int64_t e, const std::vector<Near>& a) {
  std::vector<Near> y(static_cast<std::size_t>(w.packed.n()));
  const double n = static_cast<double>(w.packed.k() + 9) * kUnit;
  for (std::size_t j = 0; j < y.size(); ++j) {
    double magnitude = 0.0;
    for (std::size_t k = 0; k < a.size(); ++k) {
      const double b = w.at(e, static_cast<std::int64_t>(j), static_cast<std::int64_t>(k));
      y[j].value += a[k].value * b;
      y[j].off += a[k].off * std::abs(b);
      magnitude += (std::abs(a[k].value) + a[k].off) * std::abs(b);
    }
    y[j].off += n / (1.0 - n) * magnitude + 0x1p-140;
  }
  return y;
}

// silu changes by at most 1.1 times what its argument does; 4 ulp, and one rounding of the product.
std::vector<Near> activation(const std::vector<Near>& h) {
  std::vector<Near> act(h.size() / 2);
  for (std::size_t i = 0; i < act.size(); ++i) {
    const Near& gate = h[i];
    const Near& up = h[act.size() + i];
    const double silu = gate.value / (1.0 + std::exp(-gate.value));
    const double silu_off = 1.1 * gate.off + 8.0 * kUnit * (std::abs(silu) + 1.1 * gate.off);
    act[i].value = silu * up.value;
    act[i].off = silu_off * (std::abs(up.value) + up.off) + std::abs(silu) * up.off;
    act[i].off += kUnit * (std::abs(act[i].value) + act[i].off) + 0x1p-140;
  }
  return act;
}

// Half a step of the codes: 2^-4 of a value in e4m3fn and half its least number times the scale,
// half a scale in int8.
void quantize(DType dtype, std::vector<Near>& act) {
  double most = 0.0;
  for (const Near& a : act) most = std::max(most, std::abs(a.value) + a.off);
  const double scale = most / static_cast<double>(qmax(dtype)) * (1.0 + 4.0 * kUnit);
  for (Near& a : act) {
    const double reach = std::abs(a.value) + a.off;
    a.off += dtype == DType::int8 ? 0.5 * scale : 0x1p-4 * reach + 0x1p-10 * scale;
    a.off += 4.0 * kUnit * reach;
  }
}

void check(DType dtype, bool quantized) {
  const DType x_dtype = DType::float32;
  const Experts w13(dtype, 2 * kInner, kHidden, quantized, 1);
  const Experts w2(dtype, kHidden, kInner, quantized, 2);
  ExpertsCase c;
  c.x = gaussians(x_dtype, {kRows, kHidden}, 3);
  c.ids = some_ids(kRows, kSlots, kExperts, 4);
  c.weights = uniforms(DType::float32, {kRows, kSlots}, 5, 0.1, 1.0);
  c.w13 = w13.packed;
  c.w2 = w2.packed;
  const Tensor x = quantized ? dequantize(quantize(c.x, {.dtype = dtype})) : c.x;
  const Tensor y = run(c);
  for (std::int64_t m = 0; m < kRows; ++m) {
    std::vector<Near> sum(static_cast<std::size_t>(kHidden));
    std::vector<double> magnitude(sum.size(), 0.0);
    for (std::int64_t t = 0; t < kSlots; ++t) {
      const auto e = static_cast<std::int64_t>(at(c.ids, m, t));
      if (e < 0) continue;
      std::vector<Near> row(static_cast<std::size_t>(kHidden));
      for (std::size_t k = 0; k < row.size(); ++k) {
        row[k].value = at(x, m, static_cast<std::int64_t>(k));
        row[k].off = kUnit * std::abs(row[k].value);  // dequantised and rounded
      }
      std::vector<Near> act = activation(product(w13, e, row));
      if (quantized) quantize(dtype, act);
      const std::vector<Near> part = product(w2, e, act);
      const double weight = at(c.weights, m, t);
      for (std::size_t j = 0; j < sum.size(); ++j) {
        sum[j].value += weight * part[j].value;
        sum[j].off += weight * part[j].off;
        magnitude[j] += weight * (std::abs(part[j].value) + part[j].off);
      }
    }
    for (std::size_t j = 0; j < sum.size(); ++j) {
      const double bound = sum[j].off + 2.0 * (kSlots + 1) * kUnit * magnitude[j] + 0x1p-140;
      ASSERT_LE(std::abs(at(y, m, static_cast<std::int64_t>(j)) - sum[j].value), bound)
          << m << ", " << j;
    }
  }
}

TEST(FusedExpertsOracle, PerToken) {
  check(DType::float8_e4m3fn, true);
  check(DType::int8, true);
}

TEST(FusedExpertsOracle, ActivationsAsTheyAre) {
  check(DType::float8_e4m3fn, false);
  check(DType::int8, false);
}

}  // namespace
}  // namespace octavo::test::oracle_test
