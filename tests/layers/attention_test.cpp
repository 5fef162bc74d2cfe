// SPDX-License-Identifier: Apache-2.0
// attention: near the exact value by a bound of its steps, and the reference's bits.
#include "octavo/attention.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "octavo/quantize.hpp"
#include "ops/helpers.hpp"

namespace octavo::test::attention_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Of keys and values.
class Attention : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Codes, Attention, testing::Values(DType::int8, DType::float8_e4m3fn),
                         [](const auto& codes) { return std::string(name(codes.param)); });

struct Shapes {
  std::int64_t batch, queries, heads, kv_heads, depth, pages, page_size;
};

// Codes and scales [pages, page_size, H_kv, ...] of random tokens.
struct Tokens {
  Tensor codes, scales;

  Tokens(const Shapes& s, DType dtype, unsigned seed) {
    const Tensor x =
        gaussians(DType::bfloat16, {s.pages * s.page_size * s.kv_heads, s.depth}, seed);
    const Quantized q = quantize(x, {.dtype = dtype});
    codes = reshaped(q.data, {s.pages, s.page_size, s.kv_heads, s.depth});
    scales = reshaped(q.scale, {s.pages, s.page_size, s.kv_heads});
  }
  static Tensor reshaped(const Tensor& tensor, std::initializer_list<std::int64_t> shape) {
    const Tensor result = Tensor::empty(tensor.dtype(), shape);
    std::memcpy(result.data(), tensor.data(),
                static_cast<std::size_t>(result.view().numel()) *
                    static_cast<std::size_t>(element_bytes(tensor.dtype())));
    return result;
  }
};

struct Call {
  Shapes shapes;
  Tensor q;
  Tokens keys, values;

  Call(const Shapes& s, DType codes, DType dtype, unsigned seed)
      : shapes(s),
        q(gaussians(dtype, {s.batch, s.queries, s.heads, s.depth}, seed, 2.0)),
        keys(s, codes, seed + 1),
        values(s, codes, seed + 2) {}
  bool floats() const { return keys.codes.dtype() != DType::int8; }
  Tensor operator()(const AttentionOptions& o = {}, const ExecContext& context = {}) const {
    return attention(q, keys.codes, keys.scales, values.codes, values.scales, o, context);
  }
};

Tensor integers(const std::vector<std::int64_t>& values,
                std::initializer_list<std::int64_t> shape) {
  const Tensor list = Tensor::empty(DType::int64, shape);
  std::copy(values.begin(), values.end(), list.data_as<std::int64_t>());
  return list;
}

// The formula in float64, on what the call multiplies, and how far a result may be.
class Exact {
 public:
  explicit Exact(const Call& call) : c_(call), codes_(quantize(rows_of(call))) {
    q_ = call.floats() ? rows_of(call) : codes_.data;
  }

  void expect_near(const Tensor& got, std::int64_t row, std::int64_t end) const {
    const Shapes& s = c_.shapes;
    const std::int64_t head = row % s.heads;
    const std::int64_t kv = head / (s.heads / s.kv_heads);
    const std::int64_t page = row / s.heads / s.queries;
    const double scale = 1.0 / std::sqrt(static_cast<double>(s.depth));
    std::vector<double> scores;
    double most = 0.0;
    for (std::int64_t j = 0; j < end; ++j) {
      double sum = 0.0;
      double products = 0.0;
      for (std::int64_t d = 0; d < s.depth; ++d) {
        const double product = test::at(q_, row * s.depth + d) *
                               test::at(c_.keys.codes, at(page, j, kv) * s.depth + d);
        sum += product;
        products += std::abs(product);
      }
      const double factor = factor_of(row) * scale *
                            static_cast<double>(c_.keys.scales.data_as<float>()[at(page, j, kv)]);
      scores.push_back(sum * factor);
      most = std::max(most, (c_.floats() ? products : std::abs(sum)) * factor);
    }
    const double largest = *std::max_element(scores.begin(), scores.end());
    double total = 0.0;
    for (double& score : scores) total += score = std::exp(score - largest);
    // Of a weight: scores have four roundings and their difference one, exp is within 4 ulp as
    // silu_and_mul's is, sums of 256 at a time and of chunks add one rounding a step.
    const double unit = 0x1p-24;
    const double chunks = static_cast<double>((end + 255) / 256);
    // Of floats a score has a rounding for each product and D / 16 + 4 additions, and sums of
    // weights and values one for the product and one for each token of a chunk behind it.
    const double roundings = c_.floats() ? static_cast<double>(s.depth) / 16.0 + 5.0 : 0.0;
    const double of_values = c_.floats() ? 257.0 * unit : 0.0;
    const double relative =
        ((10.0 + 2.0 * roundings) * most + 8.0 + 16.0 + 16.0 + 8.0 * chunks) * unit;
    for (std::int64_t d = 0; d < s.depth; ++d) {
      double want = 0.0;
      double magnitude = 0.0;
      double coded = 0.0;  // half a step of every weight, of its chunk's largest
      for (std::int64_t c = 0; c < end; c += 256) {
        double widest = 0.0;
        double values = 0.0;
        for (std::int64_t j = c; j < std::min(end, c + 256); ++j) {
          const double code = test::at(c_.values.codes, at(page, j, kv) * s.depth + d);
          const double weight =
              scores[static_cast<std::size_t>(j)] *
              static_cast<double>(c_.values.scales.data_as<float>()[at(page, j, kv)]);
          want += weight * code;
          magnitude += weight * std::abs(code);
          widest = std::max(widest, weight);
          values += std::abs(code);
        }
        if (!c_.floats()) coded += widest * values * 0.5 / 32767.0;
      }
      const double value = static_cast<double>(got.data_as<float>()[row * s.depth + d]);
      const double bound = ((2.0 * relative + 1.01 * of_values) * magnitude + 1.01 * coded) / total;
      ASSERT_LE(std::abs(value - want / total), bound) << row << ' ' << d;
      used_ = std::max(used_, std::abs(value - want / total) / bound);
    }
  }
  double used() const { return used_; }

 private:
  double factor_of(std::int64_t row) const {
    return c_.floats() ? 1.0 : static_cast<double>(codes_.scale.data_as<float>()[row]);
  }
  static Tensor rows_of(const Call& c) {
    return Tokens::reshaped(c.q,
                            {c.shapes.batch * c.shapes.queries * c.shapes.heads, c.shapes.depth});
  }
  std::int64_t at(std::int64_t page, std::int64_t j, std::int64_t head) const {
    return (page * c_.shapes.page_size + j) * c_.shapes.kv_heads + head;
  }
  const Call& c_;
  Quantized codes_;
  Tensor q_;  // float32 or codes, as the call multiplies them
  mutable double used_ = 0.0;
};

TEST_P(Attention, StaysWithinItsRoundings) {
  const Call call({2, 3, 4, 2, 64, 2, 700}, GetParam(), DType::float32, 1);
  const Tensor got = call();
  const Exact exact(call);
  for (std::int64_t row = 0; row < 2 * 3 * 4; ++row) {
    exact.expect_near(got, row, 700 - 3 + row / 4 % 3 + 1);
  }
  EXPECT_GT(exact.used(), 0.01);  // the bound is one of these roundings
}

TEST_P(Attention, HasTheReferencesBits) {
  const Shapes shapes[] = {
      {1, 1, 4, 4, 64, 1, 1},   {1, 1, 16, 4, 128, 1, 700}, {2, 1, 7, 1, 80, 2, 300},
      {1, 5, 6, 2, 96, 1, 257}, {3, 2, 3, 3, 256, 3, 100},  {1, 40, 2, 1, 64, 1, 600},
      {1, 3, 5, 5, 1, 1, 17},   {2, 9, 4, 2, 33, 2, 270},   {1, 2, 2, 1, 1024, 1, 260},
  };
  unsigned seed = 1;
  for (const Shapes& s : shapes) {
    for (const DType dtype : {DType::float32, DType::bfloat16, DType::float16}) {
      const Call call(s, GetParam(), dtype, seed++);
      for (const std::int32_t window : {0, 1, 100, 256}) {
        for (const bool bidirectional : {false, true}) {
          std::vector<std::int64_t> lengths;
          std::vector<std::int64_t> starts;
          for (std::int64_t b = 0; b < s.batch; ++b) {
            lengths.push_back(std::max<std::int64_t>(0, s.page_size - 37 * b * b));
            starts.push_back(b * 19);
          }
          const Tensor length = integers(lengths, {s.batch});
          const Tensor start = integers(starts, {s.batch});
          AttentionOptions o{.lengths = length,
                             .starts = start,
                             .scale = 0.3F,
                             .window = window,
                             .bidirectional = bidirectional,
                             .backend = "reference"};
          const Tensor want = call(o);
          for (const int threads : {1, 3}) {  // three threads share out chunks
            ThreadExecutor executor(threads);
            o.backend = nullptr;
            expect_same_bits(call(o, {.executor = &executor}), want);
          }
        }
      }
    }
  }
}

// Pages of any order and size, and any strides, are the same tokens.
TEST_P(Attention, PagesDoNotMatter) {
  const Shapes s{2, 2, 4, 2, 64, 2, 600};
  const Call call(s, GetParam(), DType::bfloat16, 5);
  const Tensor want = call();
  for (const std::int64_t size : {1, 8, 24, 300}) {
    const std::int64_t pages = 600 / size;
    std::vector<std::int64_t> table(static_cast<std::size_t>(2 * pages));
    for (std::size_t i = 0; i < table.size(); ++i) table[i] = static_cast<std::int64_t>(i);
    std::shuffle(table.begin(), table.end(), std::mt19937(7));
    Call paged = call;
    for (auto [from, to] : {std::pair{&call.keys, &paged.keys}, {&call.values, &paged.values}}) {
      to->codes = Tensor::empty(GetParam(), {2 * pages, size, 2, 64});
      to->scales = Tensor::empty(DType::float32, {2 * pages, size, 2});
      for (std::int64_t i = 0; i < 2 * pages; ++i) {
        const std::int64_t at = table[static_cast<std::size_t>(i)];
        std::copy_n(from->codes.data_as<std::int8_t>() + i * size * 128, size * 128,
                    to->codes.data_as<std::int8_t>() + at * size * 128);
        std::copy_n(from->scales.data_as<float>() + i * size * 2, size * 2,
                    to->scales.data_as<float>() + at * size * 2);
      }
    }
    const Tensor list = integers(table, {2, pages});
    expect_same_bits(paged({.block_table = list}), want);
  }
  const Strided q = strided(call.q, {3000, 300, 70, 1});
  const Strided keys = strided(call.keys.codes, {200, 400, 100, 1});
  const Strided scales = strided(call.values.scales, {1, 2, 1201});
  const Strided out = strided(want, {4, 2000, 9, 7000});
  fill_with_poison(out.view);
  (void)attention(q.view, keys.view, call.keys.scales, call.values.codes, scales.view,
                  {.out = out.view});
  expect_same_bits(out.view, want);
}

// A sequence's rows have the bits that they have alone, and a prompt's those of single steps.
TEST_P(Attention, OtherRowsDoNotMatter) {
  const Shapes s{3, 4, 4, 2, 64, 3, 530};
  const Call call(s, GetParam(), DType::bfloat16, 9);
  const Tensor want = call();
  for (std::int64_t b = 0; b < 3; ++b) {
    for (std::int64_t t = 0; t < 4; ++t) {
      const Tensor length = integers({530 - 3 + t}, {1});
      const Tensor got = attention(
          call.q.view().slice(0, b, b + 1).slice(1, t, t + 1),
          call.keys.codes.view().slice(0, b, b + 1), call.keys.scales.view().slice(0, b, b + 1),
          call.values.codes.view().slice(0, b, b + 1), call.values.scales.view().slice(0, b, b + 1),
          {.lengths = length});
      expect_same_bits(got, want.view().slice(0, b, b + 1).slice(1, t, t + 1));
    }
  }
}

// Nor do tokens before the first one that is seen.
TEST_P(Attention, PaddingDoesNotMatter) {
  const Shapes s{1, 5, 4, 2, 64, 1, 620};
  const Call call(s, GetParam(), DType::bfloat16, 11);
  for (const std::int64_t start : {1, 17, 300}) {
    const Tensor list = integers({start}, {1});
    const Tensor got = call({.starts = list, .window = 290});
    const auto tail = [&](const Tensor& t) { return t.view().slice(1, start, 620); };
    expect_same_bits(got,
                     attention(call.q, tail(call.keys.codes), tail(call.keys.scales),
                               tail(call.values.codes), tail(call.values.scales), {.window = 290}));
  }
}

TEST_P(Attention, SpecialValues) {
  const Shapes s{1, 1, 1, 1, 64, 1, 300};
  const auto first = [](const Tensor& y) { return y.data_as<float>()[0]; };
  for (const char* backend : {"reference", static_cast<const char*>(nullptr)}) {
    const Call call(s, GetParam(), DType::float32, 3);
    const auto zero = [&](const AttentionOptions& o) {
      AttentionOptions with = o;
      with.backend = backend;
      const Tensor y = call(with);
      return std::all_of(y.data_as<float>(), y.data_as<float>() + 64,
                         [](float v) { return v == 0.0F; });
    };
    const Tensor none = integers({0}, {1});
    const Tensor all = integers({300}, {1});
    EXPECT_TRUE(zero({.lengths = none}));  // an empty cache
    EXPECT_TRUE(zero({.starts = all}));    // all of it is padding
    const Tensor most = integers({std::numeric_limits<std::int64_t>::max()}, {1});
    EXPECT_TRUE(zero({.starts = most}));
    EXPECT_FALSE(zero({}));
    for (const float bad : {kNan, kInfinity, -kInfinity, -1.0F, -0.0F}) {
      for (Tensor Tokens::*const scales : {&Tokens::scales}) {
        for (Tokens Call::*const tokens : {&Call::keys, &Call::values}) {
          Call broken(s, GetParam(), DType::float32, 3);
          (broken.*tokens.*scales).data_as<float>()[7] = bad;
          EXPECT_TRUE(std::isnan(first(broken({.backend = backend})))) << bad;
          // A token that is not seen does not matter.
          expect_same_bits(broken({.window = 200, .backend = backend}),
                           call({.window = 200, .backend = backend}));
        }
      }
    }
    for (const float bad : {kNan, kInfinity}) {
      Call broken(s, GetParam(), DType::float32, 3);
      broken.q.data_as<float>()[5] = bad;
      EXPECT_TRUE(std::isnan(first(broken({.backend = backend}))));
    }
    // Scores that are far apart leave one token, those of zeros the mean.
    Call far(s, GetParam(), DType::float32, 3);
    for (std::int64_t j = 0; j < 300; ++j) far.keys.scales.data_as<float>()[j] = 0.0F;
    for (std::int64_t j = 0; j < 300; ++j)
      kit::store(far.values.codes, j * 64, j == 0 ? 64.0 : 0.0);
    for (std::int64_t j = 0; j < 300; ++j) far.values.scales.data_as<float>()[j] = 1.0F;
    EXPECT_NEAR(first(far({.backend = backend})), 64.0F / 300.0F, 64.0F / 300.0F * 0x1p-20F);
  }
}

// A NaN among codes is the row's where it is a key's, the element's where it is a value's.
TEST(AttentionOfFloats, NanCodes) {
  const Shapes s{1, 1, 1, 1, 64, 1, 300};
  for (const char* backend : {"reference", static_cast<const char*>(nullptr)}) {
    for (const bool key : {true, false}) {
      Call call(s, DType::float8_e4m3fn, DType::float32, 3);
      const Tensor want = call({.window = 200, .backend = backend});
      kit::store(key ? call.keys.codes : call.values.codes, 7 * 64 + 5,
                 std::numeric_limits<double>::quiet_NaN());
      const Tensor got = call({.backend = backend});
      for (std::int64_t d = 0; d < 64; ++d) {
        EXPECT_EQ(std::isnan(got.data_as<float>()[d]), key || d == 5) << d;
      }
      expect_same_bits(call({.window = 200, .backend = backend}), want);
    }
  }
}

// Scores that leave float32 are nobody's numbers.
TEST(AttentionOfFloats, ScoresBeyondTheRange) {
  const Shapes s{1, 1, 1, 1, 64, 1, 300};
  for (const char* backend : {"reference", static_cast<const char*>(nullptr)}) {
    Call call(s, DType::float8_e4m3fn, DType::float32, 3);
    for (std::int64_t d = 0; d < 64; ++d) {
      kit::store(call.keys.codes, 7 * 64 + d, 448.0);
      call.q.data_as<float>()[d] = -0x1p+127F;
    }
    EXPECT_TRUE(std::isnan(call({.backend = backend}).data_as<float>()[0]));
  }
}

TEST_P(Attention, AnyExtentMayBeZero) {
  const Call call({2, 1, 2, 1, 8, 2, 4}, GetParam(), DType::float32, 1);
  const Tensor none = Tensor::empty(DType::float32, {2, 0, 2, 8});
  EXPECT_EQ(
      attention(none, call.keys.codes, call.keys.scales, call.values.codes, call.values.scales)
          .view()
          .numel(),
      0);
  const Tensor codes = Tensor::empty(GetParam(), {2, 0, 1, 8});
  const Tensor scales = Tensor::empty(DType::float32, {2, 0, 1});
  const Tensor y = attention(call.q, codes, scales, codes, scales);
  for (std::int64_t i = 0; i < y.view().numel(); ++i) EXPECT_EQ(y.data_as<float>()[i], 0.0F);
}

}  // namespace
}  // namespace octavo::test::attention_test
