// SPDX-License-Identifier: Apache-2.0
// Numbers from a fixed generator, expectations with computed bounds, and expected errors.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kit/operands/element.hpp"
#include "octavo/octavo.hpp"

namespace octavo::test {

using Shape = std::vector<std::int64_t>;

/// Fills a tensor with fill(i), i counting in row-major order; the type rounds.
inline Tensor tensor_of(DType dtype, const Shape& shape,
                        const std::function<double(std::int64_t)>& fill) {
  const Tensor t = Tensor::empty(dtype, std::span(shape));
  for (std::int64_t i = 0; i < t.numel(); ++i) kit::store(t, i, fill(i));
  return t;
}

/// The listed values.
inline Tensor values(DType dtype, const Shape& shape, const std::vector<double>& list) {
  return tensor_of(dtype, shape, [&](std::int64_t i) { return list[static_cast<std::size_t>(i)]; });
}

/// Uniform integers in [low, high].
inline Tensor integers(DType dtype, const Shape& shape, unsigned seed, int low = -128,
                       int high = 127) {
  std::mt19937 bits(seed);
  const auto count = static_cast<std::uint32_t>(std::int64_t{high} - low + 1);
  return tensor_of(dtype, shape,
                   [&](std::int64_t) { return low + static_cast<double>(bits() % count); });
}

/// Sums of twelve uniform numbers less six: near enough to a Gaussian, and the same everywhere.
inline Tensor gaussians(DType dtype, const Shape& shape, unsigned seed, double spread = 1.0) {
  std::mt19937 bits(seed);
  return tensor_of(dtype, shape, [&](std::int64_t) {
    double sum = -6.0;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(bits()) * 0x1p-32;
    return spread * sum;
  });
}

/// Uniform in [low, high): scales.
inline Tensor uniforms(DType dtype, const Shape& shape, unsigned seed, double low = 0.01,
                       double high = 0.02) {
  std::mt19937 bits(seed);
  return tensor_of(dtype, shape, [&](std::int64_t) {
    return low + (high - low) * static_cast<double>(bits()) * 0x1p-32;
  });
}

/// Element (i, j) of a matrix, and element i of a row-major tensor, as doubles and floats.
inline double at(const TensorView& v, std::int64_t i, std::int64_t j) { return kit::load(v, i, j); }
inline double at(const TensorView& v, std::int64_t i) { return kit::load(v, i); }
inline float float_at(const TensorView& v, std::int64_t i, std::int64_t j) {
  return static_cast<float>(kit::load(v, i, j));
}
inline float float_at(const TensorView& v, std::int64_t i) {
  return static_cast<float>(kit::load(v, i));
}

/// A sum, and the sum of its terms' magnitudes.
struct Sum {
  double value = 0.0;
  double magnitude = 0.0;
  void add(double term) {
    value += term;
    magnitude += std::abs(term);
  }
  void times(double factor) {
    value *= factor;
    magnitude *= std::abs(factor);
  }
};

/// |out - exact| <= gamma * magnitude + half an ulp, gamma = n u / (1 - n u), n = k + groups + 8.
inline void expect_near(const TensorView& out, std::int64_t i, std::int64_t j, const Sum& exact,
                        std::int64_t k, std::int64_t groups = 1) {
  const double n = static_cast<double>(k + groups + 8) * 0x1p-24;
  const double half = kit::half_ulp(out.dtype, std::abs(exact.value));
  const double bound = n / (1.0 - n) * exact.magnitude + half + 0x1p-140;
  ASSERT_LE(std::abs(at(out, i, j) - exact.value), bound)
      << "element [" << i << ", " << j << "]: " << at(out, i, j) << " against " << exact.value;
}
inline void expect_near(const TensorView& out, std::int64_t k,
                        const std::function<Sum(std::int64_t, std::int64_t)>& exact,
                        std::int64_t groups = 1) {
  ASSERT_EQ(out.rank, 2);
  for (std::int64_t i = 0; i < out.shape[0]; ++i) {
    for (std::int64_t j = 0; j < out.shape[1]; ++j) {
      expect_near(out, i, j, exact(i, j), k, groups);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

/// sum over k of A[i,k] * B[k,j] in double precision.
inline Sum dot(const TensorView& a, const TensorView& b, std::int64_t i, std::int64_t j) {
  Sum sum;
  for (std::int64_t k = 0; k < a.shape[1]; ++k) sum.add(at(a, i, k) * at(b, k, j));
  return sum;
}

/// The exact sum of an integer product.
inline std::int64_t exact_dot(const TensorView& a, const TensorView& b, std::int64_t i,
                              std::int64_t j) {
  std::int64_t sum = 0;
  for (std::int64_t k = 0; k < a.shape[1]; ++k) {
    sum += static_cast<std::int64_t>(at(a, i, k)) * static_cast<std::int64_t>(at(b, k, j));
  }
  return sum;
}

/// The bytes of a view in row-major order.
inline std::vector<std::uint8_t> bytes_of(const TensorView& v) {
  const Tensor flat = copy(v, v.dtype);
  const auto* first = flat.data_as<std::uint8_t>();
  return {first, first + flat.numel() * element_bytes(v.dtype)};
}

inline void expect_same_bits(const TensorView& got, const TensorView& want) {
  EXPECT_EQ(got.dtype, want.dtype);
  EXPECT_EQ(shape_string(got), shape_string(want));
  EXPECT_TRUE(bytes_of(got) == bytes_of(want)) << "the bits differ";
}

/// The same values in a buffer of their own with these strides (negative ones included); what lies
/// between the elements is `gap`.
struct Strided {
  std::shared_ptr<std::vector<std::uint8_t>> memory;  // copies share it
  TensorView view;
};
inline Strided strided(const TensorView& v, const Shape& strides, std::uint8_t gap = 0xA5) {
  std::int64_t low = 0;
  std::int64_t high = 0;
  for (std::size_t d = 0; d < strides.size(); ++d) {
    const std::int64_t reach = strides[d] * std::max<std::int64_t>(0, v.shape[d] - 1);
    (reach < 0 ? low : high) += reach;
  }
  const std::int64_t bytes = element_bytes(v.dtype);
  Strided s;
  s.memory = std::make_shared<std::vector<std::uint8_t>>(
      static_cast<std::size_t>((high - low + 1) * bytes), gap);
  s.view = v;
  s.view.data = s.memory->data() - low * bytes;
  for (std::size_t d = 0; d < strides.size(); ++d) s.view.strides[d] = strides[d];
  const Tensor flat = copy(v, v.dtype);
  for (std::int64_t i = 0; i < v.numel(); ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (std::size_t d = strides.size(); d-- > 0;) {
      offset += rest % v.shape[d] * strides[d];
      rest /= v.shape[d];
    }
    std::memcpy(s.view.at(offset), flat.view().at(i), static_cast<std::size_t>(bytes));
  }
  return s;
}

/// 0xA5 in every byte of every element of a view.
inline void fill_with_poison(const TensorView& v) {
  for (std::int64_t i = 0; i < v.numel(); ++i) {
    std::int64_t rest = i;
    std::int64_t offset = 0;
    for (std::size_t d = static_cast<std::size_t>(v.rank); d-- > 0;) {
      offset += rest % v.shape[d] * v.strides[d];
      rest /= v.shape[d];
    }
    std::memset(v.at(offset), 0xA5, static_cast<std::size_t>(element_bytes(v.dtype)));
  }
}

/// The backends that run every problem, and "" for the one that is chosen by itself.
inline const std::vector<const char*>& usable_backends() {
  static const std::vector<const char*> names{"", "generic", "reference"};
  return names;
}
/// The name of a test's backend, for its instance.
inline std::string backend_name(const testing::TestParamInfo<const char*>& test) {
  return *test.param == '\0' ? "chosen" : test.param;
}

/// The call throws Error with this code, and its text contains (or is) the sentence.
inline void expect_error(const std::function<void()>& call, Code code, const std::string& sentence,
                         bool whole = false) {
  try {
    call();
    ADD_FAILURE() << "no error; expected: " << sentence;
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(code_name(error.code()), code_name(code)) << text;
    if (whole) {
      EXPECT_EQ(text, sentence);
    } else {
      EXPECT_NE(text.find(sentence), std::string::npos) << text << "\n  lacks: " << sentence;
    }
  }
}

}  // namespace octavo::test
