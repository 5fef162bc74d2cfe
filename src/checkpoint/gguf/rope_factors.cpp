// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/gguf/rope_factors.hpp"

#include <cmath>
#include <cstddef>
#include <numbers>

namespace octavo::checkpoint {
namespace {

constexpr double kUnit = 0x1p-24;  // half a step of float32 at 1

double frequency(double base, std::size_t i, std::size_t count) {
  return std::pow(base, -static_cast<double>(i) / static_cast<double>(count));
}

/// Falls as the frequency rises.
double factor_at(const Llama3Rope& rule, double frequency) {
  const double turns = rule.length * frequency / (2 * std::numbers::pi);  // within the length
  if (turns > rule.high_frequency) return 1;
  if (turns < rule.low_frequency) return rule.factor;
  const double smooth = (turns - rule.low_frequency) / (rule.high_frequency - rule.low_frequency);
  return 1 / ((1 - smooth) / rule.factor + smooth);
}

}  // namespace

std::vector<float> llama3_factors(const Llama3Rope& rule, double base, std::int64_t head) {
  std::vector<float> factors(static_cast<std::size_t>(head / 2));
  for (std::size_t i = 0; i < factors.size(); ++i) {
    factors[i] = static_cast<float>(factor_at(rule, frequency(base, i, factors.size())));
  }
  return factors;
}

// Writers compute in float32. A frequency is then off by what its exponent is rounded by, times
// ln(base), and by a few units of its power and of what follows; a factor by its own six steps.
std::optional<Llama3Rope> llama3_rope_of(std::span<const float> factors, double base) {
  if (factors.empty() || !(factors.back() > 1) || !(base > 1)) return std::nullopt;
  const Llama3Rope rule{.factor = factors.back()};
  const double of_frequency = (std::log(base) + 6) * 2 * kUnit, of_factor = 8 * kUnit;
  for (std::size_t i = 0; i < factors.size(); ++i) {
    const double exact = frequency(base, i, factors.size());
    const double least = factor_at(rule, exact * (1 + of_frequency)) * (1 - of_factor);
    const double most = factor_at(rule, exact * (1 - of_frequency)) * (1 + of_factor);
    if (!(factors[i] >= least && factors[i] <= most)) return std::nullopt;
  }
  return rule;
}

}  // namespace octavo::checkpoint
