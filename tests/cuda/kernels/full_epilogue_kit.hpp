// SPDX-License-Identifier: Apache-2.0
// A dense product whose kernel does all of section 3: what it must give, whatever is asked of it.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "dense_kit.hpp"

namespace octavo::test {

struct FullCase {
  DType out;
  DType c = DType::undefined;
  DType vectors = DType::float32;  ///< of scales, bias and factors
  bool words = true;               ///< rows of the output and of C lie for four columns at a time
  bool numbers = false;            ///< alpha, beta and scale_result are not in memory
  DType azp = DType::undefined;    ///< zero points of rows; those of columns are int8 or one value
};

/// Every output, C, type of vectors and layout.
inline std::vector<FullCase> full_cases() {
  using enum DType;
  return {
      {bfloat16, bfloat16},
      {bfloat16, float32, float16, false, true},
      {float16, float16, bfloat16, false},
      {float16},
      {float32, float32, float32, true, true},
      {float32, bfloat16, bfloat16, false},
      {int8, float16},
      {int8, undefined, bfloat16, false, true},
      {uint8, bfloat16, float16},
      {uint8, float32, float32, false},
      {float8_e4m3fn, float32, bfloat16},
      {float8_e4m3fn, undefined, float32, false},
      {float8_e5m2, bfloat16, float16, false},
      {float8_e5m2, undefined, float32, true, true},
  };
}

/// The same with zero points.
inline std::vector<FullCase> zero_point_cases() {
  using enum DType;
  return {
      {bfloat16, bfloat16, float32, true, false, int32},
      {float32, undefined, float16, false, true, uint8},
      {int8, float32, bfloat16, false, false, int8},
      {int32, undefined, float32, false, false, int32},
      {int32, undefined, float32, true, true, uint8},
  };
}

/// Elements of a type in memory that is a multiple of 16.
class TypedArray {
 public:
  TypedArray(DType dtype, std::int64_t count)
      : dtype_(dtype),
        count_(count),
        bytes_(static_cast<std::size_t>(count * element_bytes(dtype)) + 16, kGuard) {}

  static constexpr std::uint8_t kGuard = 0xEE;
  DType dtype() const { return dtype_; }
  std::int64_t count() const { return count_; }
  void* data() {
    return reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(bytes_.data()) + 15) / 16 *
                                   16);
  }
  void put(std::int64_t i, float value) {
    cuda::with_codec(dtype_, [&]<std::size_t row>(cuda::Codec<row>) {
      using Raw = typename cuda::Codec<row>::Raw;
      static_cast<Raw*>(data())[i] = cuda::Codec<row>::encode(value, Overflow::saturate);
    });
  }
  float at(std::int64_t i) {
    float value = 0;
    cuda::with_codec(dtype_, [&]<std::size_t row>(cuda::Codec<row>) {
      using Raw = typename cuda::Codec<row>::Raw;
      value = cuda::Codec<row>::decode(static_cast<const Raw*>(data())[i]);
    });
    return value;
  }
  std::uint32_t bits(std::int64_t i) {
    std::uint32_t bits = 0;
    const auto size = static_cast<std::size_t>(element_bytes(dtype_));
    std::memcpy(&bits, static_cast<std::uint8_t*>(data()) + static_cast<std::size_t>(i) * size,
                size);
    return bits;
  }

 private:
  DType dtype_;
  std::int64_t count_;
  std::vector<std::uint8_t> bytes_;
};

/// The product with other factors. Values of every class: rounded and saturated ones, infinities,
/// NaN of both signs.
template <class Base>
class FullProblem : public Base {
 public:
  using Kernel = typename Base::Kernel;
  using Sum = typename Base::Sum;

  using Base::Base;

  /// Whether one run gives all of a case's outputs, and writes nothing else.
  void expect(const FullCase& wanted, std::uint32_t clusters, const Options& options) {
    const FullCase c = wanted;
    const std::int64_t rows = this->m, columns = this->n;
    const auto vector = [&](std::int64_t count, float low, float high, std::uint32_t seed) {
      TypedArray values(c.vectors, count);
      std::mt19937 random(seed);
      std::uniform_real_distribution<float> uniform(low, high);
      for (std::int64_t i = 0; i < count; ++i) values.put(i, uniform(random));
      return values;
    };
    // Sums of K products of codes become values about 100: half of int8's, a part of e4m3's.
    const float least = 100.0F / (largest_sum() + 1.0F);
    TypedArray of_rows = vector(rows, 0.5F, 1.0F, 1), offsets = vector(columns, -20.0F, 20.0F, 2);
    TypedArray of_columns = vector(columns, least, 2 * least, 3);
    TypedArray result = vector(columns, 0.5F, 3.0F, 4), alpha = vector(1, 0.5F, 2.0F, 5),
               beta = vector(1, -2.0F, 2.0F, 6);
    constexpr float kInf = std::numeric_limits<float>::infinity();
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    const float odd[] = {kNan, -kNan, kInf, -kInf, -0.0F, 3e4F};
    for (std::int64_t i = 3; i < columns; i += 7) offsets.put(i, odd[i % 6]);
    const std::int64_t pitch = c.words ? (columns + 15) / 16 * 16 : columns + 1;
    TypedArray got(c.out, rows * pitch);
    const bool with_c = c.c != DType::undefined;
    TypedArray addends(with_c ? c.c : DType::float32, (rows + 1) * pitch);
    std::mt19937 random(7);
    for (std::int64_t i = 0; i < addends.count(); ++i)
      addends.put(i, static_cast<float>(static_cast<int>(random() % 4001) - 2000) / 64);

    auto params = this->full_params();
    cuda::FullEpilogue& full = params.full;
    const auto factors = [&](TypedArray& values, int step) {
      return cuda::Factors{values.data(), step, 1.0F, values.dtype()};
    };
    full.scale_a = factors(of_rows, 1);
    full.scale_b = factors(of_columns, 1);
    full.bias = factors(offsets, 1);
    const auto factor = [&](TypedArray& values, int step) {
      return c.numbers ? cuda::Factors{nullptr, 0, values.at(0)} : factors(values, step);
    };
    full.alpha = factor(alpha, 0);
    full.result = factor(result, 1);
    if (with_c) {
      full.beta = factor(beta, 0);
      full.c.dtype = c.c;
      full.c.data = addends.data();
      full.c.strides =
          c.words ? std::array<std::int64_t, 2>{pitch, 1} : std::array<std::int64_t, 2>{1, rows};
      full.c_words = c.words;
    }
    full.out.dtype = c.out;
    full.out.data = got.data();
    full.out.strides = {pitch, 1};
    full.out_words = c.words;

    Azp azp = make_azp(c, params.full);
    TypedArray want = got;
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        if (c.out == DType::int32) {
          static_cast<std::int32_t*>(want.data())[i * pitch + j] = static_cast<std::int32_t>(
              std::clamp<std::int64_t>(less_zero_points(azp, i, j), INT32_MIN, INT32_MAX));
          continue;
        }
        volatile float t = start(c, azp, i, j);  // each step is rounded by itself
        t = t * of_rows.at(i);
        t = t * of_columns.at(j);
        t = t * alpha.at(0);
        if (with_c) {
          const volatile float addend =
              beta.at(0) * addends.at(i * full.c.strides[0] + j * full.c.strides[1]);
          t = t + addend;
        }
        t = t + offsets.at(j);
        t = t * (c.numbers ? result.at(0) : result.at(j));
        want.put(i * pitch + j, t);
      }
    }
    ASSERT_EQ("", fault_of(this->launch(clusters), options,
                           [&](Machine machine) { Kernel::run(machine, params); }));
    for (std::int64_t i = 0; i < got.count(); ++i) {
      // A NaN of the wide types is any: instructions make one of their own.
      if (is_wide(c.out) && std::isnan(want.at(i)) && std::isnan(got.at(i))) continue;
      ASSERT_EQ(want.bits(i), got.bits(i))
          << name(c.out) << " at " << i / pitch << ", " << i % pitch << " of " << rows << 'x'
          << columns << 'x' << this->k << ", seed " << options.seed;
    }
  }

  /// Exact sums as they are.
  void expect_sums(std::uint32_t clusters, const Options& options) {
    const std::int64_t pitch = this->n + 1;
    TypedArray got(DType::int32, this->m * pitch);
    auto params = this->full_params();
    params.full.out.dtype = DType::int32;
    params.full.out.data = got.data();
    params.full.out.strides = {pitch, 1};
    TypedArray want = got;
    for (std::int64_t i = 0; i < this->m; ++i)
      for (std::int64_t j = 0; j < this->n; ++j)
        static_cast<std::int32_t*>(want.data())[i * pitch + j] =
            static_cast<std::int32_t>(sum(i, j));
    ASSERT_EQ("", fault_of(this->launch(clusters), options,
                           [&](Machine machine) { Kernel::run(machine, params); }));
    for (std::int64_t i = 0; i < got.count(); ++i) ASSERT_EQ(want.bits(i), got.bits(i)) << i;
  }

 private:
  /// Zero points, and sums of codes in int32.
  struct Azp {
    TypedArray of_rows{DType::int32, 0}, of_columns{DType::int8, 0};
    bool one_column = false;
    std::vector<std::int32_t> sums_of_rows, sums_of_columns;
  };

  // Of a case that has them; kept by the caller.
  Azp make_azp(const FullCase& wanted, cuda::FullEpilogue& full) {
    Azp azp;
    if (wanted.azp == DType::undefined) return azp;
    std::mt19937 random(8);
    azp.of_rows = TypedArray(wanted.azp, this->m);
    azp.of_columns = TypedArray(DType::int8, this->n);
    azp.one_column = wanted.numbers;
    for (int i = 0; i < this->m; ++i) {
      // Some take sums beyond int32 and float32's integers.
      const int far = i % 5 == 3 && wanted.azp == DType::int32 ? 1 << 24 : 1;
      azp.of_rows.put(i, static_cast<float>(static_cast<int>(random() % 100) * far));
    }
    for (int j = 0; j < this->n; ++j)
      azp.of_columns.put(j, static_cast<float>(static_cast<int>(random() % 255) - 127));
    constexpr bool kUnsignedA = Base::kType == MmaType::u8_s8 || Base::kType == MmaType::u8_u8;
    constexpr bool kUnsignedB = Base::kType == MmaType::s8_u8 || Base::kType == MmaType::u8_u8;
    const auto total = [&](ByteMatrix& x, int r, bool is_unsigned) {
      std::int32_t sum = 0;
      for (int c = 0; c < this->k; ++c)
        sum += is_unsigned ? x.at(r, c) : static_cast<std::int8_t>(x.at(r, c));
      return sum;
    };
    for (int i = 0; i < this->m; ++i) azp.sums_of_rows.push_back(total(this->a, i, kUnsignedA));
    for (int j = 0; j < this->n; ++j) azp.sums_of_columns.push_back(total(this->b, j, kUnsignedB));
    cuda::ZeroPoints& to = full.zero_points;
    to.any = true;
    to.k = this->k;
    to.of_rows = {azp.of_rows.data(), 1, wanted.azp};
    to.of_columns = {azp.of_columns.data(), azp.one_column ? 0 : 1, DType::int8};
    to.sums = {azp.sums_of_rows.data(), azp.sums_of_columns.data()};
    return azp;
  }
  // By the definition's order of terms, not the kernel's.
  std::int64_t less_zero_points(Azp& azp, std::int64_t i, std::int64_t j) {
    const auto exact = static_cast<std::int64_t>(sum(i, j));
    if (azp.sums_of_rows.empty()) return exact;
    const auto left = static_cast<std::int64_t>(azp.of_rows.at(i));
    const auto right = static_cast<std::int64_t>(azp.of_columns.at(azp.one_column ? 0 : j));
    return exact - left * azp.sums_of_columns[static_cast<std::size_t>(j)] -
           right * azp.sums_of_rows[static_cast<std::size_t>(i)] + left * right * this->k;
  }
  float start(const FullCase& c, Azp& azp, std::int64_t i, std::int64_t j) {
    return c.azp == DType::undefined ? static_cast<float>(sum(i, j))
                                     : static_cast<float>(less_zero_points(azp, i, j));
  }

  Sum sum(std::int64_t i, std::int64_t j) {
    if (sums_.empty())
      for (int r = 0; r < this->m; ++r)
        for (int c = 0; c < this->n; ++c) sums_.push_back(this->sum_of(r, c));
    return sums_[static_cast<std::size_t>(i * this->n + j)];
  }
  float largest_sum() {
    float most = static_cast<float>(sum(0, 0));
    for (const Sum s : sums_) most = std::max(most, std::abs(static_cast<float>(s)));
    return most;
  }

  std::vector<Sum> sums_;
};

/// Every case on a kernel with outputs of 32 bits, each in a schedule of its own.
template <class Base>
void expect_every_epilogue(int m, int n, int k, std::uint32_t clusters) {
  FullProblem<Base> problem(m, n, k);
  const std::vector<Options> all = schedules(1);
  std::size_t turn = 0;
  for (const FullCase& wanted : full_cases())
    problem.expect(wanted, clusters, all[turn++ % all.size()]);
  if constexpr (std::is_same_v<typename Base::Sum, std::int32_t>) {
    problem.expect_sums(clusters, all[turn++ % all.size()]);
    for (const FullCase& wanted : zero_point_cases())
      problem.expect(wanted, clusters, all[turn++ % all.size()]);
  }
}

}  // namespace octavo::test
