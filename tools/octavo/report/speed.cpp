// SPDX-License-Identifier: Apache-2.0
#include "speed.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>

#include "kit/operands/random.hpp"
#include "octavo/linear.hpp"

namespace octavo::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array<std::int64_t, 2> kRows{1, 16};
constexpr std::size_t kLeastRepeats = 3, kMostRepeats = 15;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Tensor gaussians(std::int64_t rows, std::int64_t columns) {
  Tensor x = Tensor::empty(DType::float32, {rows, columns});
  const kit::Random random(1);
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    x.data_as<float>()[i] = static_cast<float>(random.gauss(static_cast<std::uint64_t>(i)));
  }
  return x;
}

/// Microseconds of single calls, after one that is not counted.
std::vector<double> samples(const Tensor& x, const PackedWeight& weight, double seconds) {
  (void)linear(x, weight);
  std::vector<double> all;
  const Clock::time_point start = Clock::now();
  while (all.size() < kLeastRepeats ||
         (all.size() < kMostRepeats && seconds_since(start) < seconds)) {
    const Clock::time_point begin = Clock::now();
    (void)linear(x, weight);
    all.push_back(1e6 * seconds_since(begin));
  }
  return all;
}

}  // namespace

ShapeSpeed::ShapeSpeed(const Tensor& weight, const std::vector<SchemeResult>& schemes,
                       double seconds)
    : n_(weight.size(0)), k_(weight.size(1)) {
  const double share = seconds / static_cast<double>((schemes.size() + 2) * kRows.size());
  const Tensor x = gaussians(kRows.back(), k_), half = x.to(DType::bfloat16);
  measure("float32", x, pack(Operand(weight.to(DType::float32)).transposed()), share);
  measure("bfloat16", half, pack(Operand(weight.to(DType::bfloat16)).transposed()), share);
  for (const SchemeResult& result : schemes) {
    measure(std::string(scheme_name(result.scheme)), half, pack(result.weight), share);
  }
}

void ShapeSpeed::measure(const std::string& form, const Tensor& x, const PackedWeight& weight,
                         double seconds) {
  for (const std::int64_t m : kRows) {
    const TensorView rows(x.data(), x.dtype(), {m, k_});
    Time time{form, m, 0, 0, {}};
    try {
      std::vector<double> all = samples(Tensor::adopt(nullptr, rows), weight, seconds);
      std::ranges::sort(all);
      time.repeats = static_cast<int>(all.size());
      time.median_us = all[all.size() / 2];
    } catch (const Error& error) {
      time.not_run = error.what();
    }
    times_.push_back(std::move(time));
  }
}

double ShapeSpeed::typical_us(const std::string& form) const {
  double logs = 0;
  int count = 0;
  for (const Time& time : times_) {
    if (time.form != form || !time.not_run.empty()) continue;
    logs += std::log(time.median_us);
    ++count;
  }
  return count < static_cast<int>(kRows.size()) ? std::numeric_limits<double>::infinity()
                                                : std::exp(logs / count);
}

Json ShapeSpeed::json() const {
  Json times = Json::array();
  for (const Time& time : times_) {
    const bool ran = time.not_run.empty();
    times.push_back({{"form", time.form},
                     {"m", time.m},
                     {"median_us", ran ? Json(time.median_us) : Json(nullptr)},
                     {"repeats", time.repeats},
                     {"not_run", ran ? Json(nullptr) : Json(time.not_run)}});
  }
  return {{"shape", {n_, k_}}, {"times", std::move(times)}};
}

}  // namespace octavo::cli
