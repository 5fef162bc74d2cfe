// SPDX-License-Identifier: Apache-2.0
// Layers on ranks that are threads: specification section 11, and what breaks it is said.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "octavo/octavo.hpp"
#include "parallel/layer_checks.hpp"
#include "parallel/thread_ranks.hpp"

namespace octavo::test {
namespace {

class Ranks : public testing::TestWithParam<int> {};

TEST_P(Ranks, GiveTheBitsOfTheWholeLayer) {
  std::mutex mutex;
  for (int seed = 0; seed < 12 * layer_kinds(); ++seed) {
    on_ranks(GetParam(), [&](const std::shared_ptr<Communicator>& ranks) {
      const std::string wrong = check_random_layer(ranks, static_cast<std::uint64_t>(seed));
      const std::lock_guard lock(mutex);
      EXPECT_EQ(wrong, "") << "seed " << seed << " on rank " << ranks->rank();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Ranks, testing::Values(1, 2, 3, 4, 5, 8),
                         testing::PrintToStringParamName());

// Sums of all ranks that 32 bits have no room for: every product 255 * 127.
TEST(WideSums, LeaveThirtyTwoBitsOnAllRanksTogether) {
  constexpr std::int64_t kDepth = 70000;
  Weight weight;
  weight.scheme = "test";
  const Tensor w = Tensor::empty(DType::float32, {2, kDepth});
  std::fill_n(w.data_as<float>(), w.numel(), 127.0F);
  weight.codes = quantize(w, {.dtype = DType::int8, .granularity = per_token()});
  ActivationQuant rule;
  rule.spec.dtype = DType::uint8;
  rule.spec.granularity = per_tensor();
  rule.spec.azp = true;
  rule.static_scale = 1.0F;
  rule.static_azp = -5;
  weight.activation = rule;
  const Tensor x = Tensor::empty(DType::float32, {1, kDepth});
  std::fill_n(x.data_as<float>(), kDepth, 260.0F);
  const Tensor want = QuantizedLinear(weight)(x);
  on_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    const Tensor got = RowParallelLinear(weight, {}, ranks)(x);
    EXPECT_EQ(got.data_as<float>()[0], want.data_as<float>()[0]);
    EXPECT_EQ(got.data_as<float>()[1], want.data_as<float>()[1]);
    EXPECT_FLOAT_EQ(want.data_as<float>()[0], 260.0F * 127.0F * kDepth);
  });
}

Weight int8_weight(std::int64_t n, std::int64_t k) {
  const Tensor w = Tensor::empty(DType::float32, {n, k});
  for (std::int64_t i = 0; i < w.numel(); ++i) {
    w.data_as<float>()[i] = static_cast<float>(i % 17) - 8.0F;
  }
  return quantize_weight(w, Scheme::int8_dynamic);
}

// What the first rank says when ranks disagree.
std::string complaint(const std::function<void(const std::shared_ptr<Communicator>&)>& body) {
  try {
    on_ranks(2, body);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Disagreement, IsToldWhenALayerIsMade) {
  const auto of_rank = [](const std::shared_ptr<Communicator>& ranks, std::int64_t a,
                          std::int64_t b) { return ranks->rank() == 0 ? a : b; };
  EXPECT_EQ(
      complaint([&](const auto& ranks) {
        (void)RowParallelLinear(int8_weight(8, of_rank(ranks, 64, 96)), {}, ranks);
      }),
      "RowParallelLinear: weight.shape[1] must be the same on all ranks; got 64 on rank 0 and "
      "96 on rank 1");
  EXPECT_EQ(
      complaint([&](const auto& ranks) {
        (void)RowParallelLinear(int8_weight(8, 64), {}, ranks,
                                {.k_chunks = static_cast<std::int32_t>(of_rank(ranks, 24, 12))});
      }),
      "RowParallelLinear: options.k_chunks must be the same on all ranks; got 24 on rank 0 and "
      "12 on rank 1");
}

// Per-rank scales are close to those of whole rows, and no ranks' number changes that.
TEST(Fast, IsCloseToTheWholeLayer) {
  const Weight weight = int8_weight(24, 192);
  const Tensor x = Tensor::empty(DType::float32, {5, 192});
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    x.data_as<float>()[i] = static_cast<float>(i % 23) / 7.0F - 1.5F;
  }
  const Tensor want = QuantizedLinear(weight)(x);
  double magnitude = 0.0;
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    magnitude = std::max(magnitude, std::abs(double{want.data_as<float>()[i]}));
  }
  on_ranks(3, [&](const std::shared_ptr<Communicator>& ranks) {
    const RowParallelLinear layer(weight, {}, ranks, {.mode = ParallelMode::fast});
    const Tensor got = layer(x);
    for (std::int64_t i = 0; i < want.numel(); ++i) {
      // A step of a row's codes is 1/127 of its largest element, on either side half of one.
      EXPECT_NEAR(got.data_as<float>()[i], want.data_as<float>()[i], magnitude * 2 / 127);
    }
  });
}

TEST(Shapes, OfXAreChecked) {
  const RowParallelLinear layer(int8_weight(8, 64), {}, self_communicator());
  const Tensor x = Tensor::empty(DType::float32, {2, 63});
  try {
    (void)layer(x);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "RowParallelLinear: x.shape must be [..., 64], rows() of rank 0, or [..., K = 64]; "
        "got [2, 63]");
  }
}

}  // namespace
}  // namespace octavo::test
