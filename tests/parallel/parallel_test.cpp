// SPDX-License-Identifier: Apache-2.0
// Layers on ranks that are threads: specification section 11, and what breaks it is said.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "octavo/octavo.hpp"
#include "parallel/expert_checks.hpp"
#include "parallel/layer_checks.hpp"
#include "parallel/message_checks.hpp"
#include "parallel/thread_ranks.hpp"

namespace octavo::test::parallel_test {
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

TEST_P(Ranks, GiveTheBitsOfAllExpertsOnOne) {
  std::mutex mutex;
  for (int seed = 0; seed < 12 * expert_kinds(); ++seed) {
    on_ranks(GetParam(), [&](const std::shared_ptr<Communicator>& ranks) {
      const std::string wrong = check_random_experts(ranks, static_cast<std::uint64_t>(seed));
      const std::lock_guard lock(mutex);
      EXPECT_EQ(wrong, "") << "seed " << seed;
    });
  }
}

// An engine whose messages wait for who receives them, as large ones of MPI do.
class Meeting final : public Communicator {
 public:
  explicit Meeting(Communicator& ranks) : ranks_(ranks) {}
  int rank() const noexcept override { return ranks_.rank(); }
  int size() const noexcept override { return ranks_.size(); }
  void all_reduce(Reduction reduction, void* data, std::int64_t count) override {
    ranks_.all_reduce(reduction, data, count);
  }
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    ranks_.all_gather(part, bytes, all);
  }
  void broadcast(int root, void* data, std::int64_t bytes) override {
    ranks_.broadcast(root, data, bytes);
  }
  void send(int to, const void* data, std::int64_t bytes) override {
    ranks_.send(to, data, bytes);
    ranks_.receive(to, nullptr, 0);
  }
  void receive(int from, void* data, std::int64_t bytes) override {
    ranks_.receive(from, data, bytes);
    ranks_.send(from, nullptr, 0);
  }

 private:
  Communicator& ranks_;
};

TEST_P(Ranks, SendToAllWhatTheyWaitFor) {
  std::mutex mutex;
  on_ranks(GetParam(), [&](const std::shared_ptr<Communicator>& ranks) {
    Meeting meeting(*ranks);
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      const std::string wrong = check_all_to_all(*ranks, seed, 1000);
      const std::string also = check_all_to_all(meeting, seed, 1000);
      const std::lock_guard lock(mutex);
      EXPECT_EQ(wrong + also, "");
    }
  });
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
      "RowParallelLinear: weight.shape must be the same on all ranks; got [8, 64] on rank 0 and "
      "[8, 96] on rank 1");
  EXPECT_EQ(complaint([&](const auto& ranks) {
              (void)RowParallelLinear(
                  int8_weight(8, 64), {}, ranks,
                  {.k_chunks = static_cast<std::int32_t>(of_rank(ranks, 24, 12))});
            }),
            "RowParallelLinear: options must be the same on all ranks; got exact, k_chunks 24, "
            "overlap_rows 0 on rank 0 and exact, k_chunks 12, overlap_rows 0 on rank 1");
  EXPECT_EQ(complaint([&](const auto& ranks) {
              (void)RowParallelLinear::of_part(int8_weight(8, of_rank(ranks, 64, 32)), {}, ranks);
            }),
            "RowParallelLinear: part must have the columns that shard_range gives its rank; got 64 "
            "instead of 48 of 96 on rank 0");
}

TEST(Disagreement, OfValuesIsToldAsWell) {
  const auto other = [](const std::shared_ptr<Communicator>& ranks) {
    Weight weight = int8_weight(200, 64);
    if (ranks->rank() == 1) weight.codes.data.data_as<std::int8_t>()[0] += 1;
    return weight;
  };
  const auto begins = [](const std::string& said, const std::string& sentence) {
    EXPECT_EQ(said.substr(0, sentence.size()), sentence);
  };
  begins(complaint([&](const auto& ranks) { (void)RowParallelLinear(other(ranks), {}, ranks); }),
         "RowParallelLinear: weight.values must be the same on all ranks; got checksum ");
  begins(complaint([&](const auto& ranks) { (void)ColumnParallelLinear(other(ranks), {}, ranks); }),
         "ColumnParallelLinear: weight.values must be the same on all ranks; got checksum ");
  begins(complaint([&](const auto& ranks) {
           const Tensor bias = Tensor::empty(DType::float32, {200});
           std::fill_n(bias.data_as<float>(), 200, ranks->rank() == 0 ? 0.0F : 1.0F);
           (void)RowParallelLinear(int8_weight(200, 64), bias, ranks);
         }),
         "RowParallelLinear: bias must be the same on all ranks; got float32 [200], checksum ");
}

struct Moe {
  Tensor x = Tensor::empty(DType::float32, {2, 8});
  Tensor weights = Tensor::empty(DType::float32, {2, 1});
  Tensor ids = Tensor::empty(DType::int32, {2, 1});

  Moe() {
    std::fill_n(x.data_as<float>(), x.numel(), 1.0F);
    std::fill_n(weights.data_as<float>(), 2, 1.0F);
    std::fill_n(ids.data_as<std::int32_t>(), 2, 0);
  }
};

ExpertWeights float_experts(std::int64_t count, std::int64_t n, std::int64_t k) {
  const Tensor w = Tensor::empty(DType::float32, {count, n, k});
  std::fill_n(w.data_as<float>(), w.numel(), 1.0F);
  return pack_experts(w);
}

ExpertParallelMoE float_moe(const std::shared_ptr<Communicator>& ranks) {
  return ExpertParallelMoE(float_experts(1, 8, 8), float_experts(1, 4, 4), 2, ranks);
}

TEST(Disagreement, OfExpertsIsToldWhenTheyAreMade) {
  EXPECT_EQ(complaint([](const auto& ranks) {
              const std::int64_t n = ranks->rank() == 0 ? 4 : 6;
              (void)ExpertParallelMoE(float_experts(1, 8, 8), float_experts(1, n, 4), 2, ranks);
            }),
            "ExpertParallelMoE: w2.shape must be the same on all ranks; got [4, 4] on rank 0 and "
            "[4, 6] on rank 1");
}

// Both ranks say something at once: neither waits for the other until its timeout.
TEST(Disagreement, OfACallOfExpertsIsToldOnAllRanks) {
  std::mutex mutex;
  const auto sentences = [&](const std::function<void(const ExpertParallelMoE&, Moe&, int)>& call) {
    std::array<std::string, 2> said;
    on_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
      const ExpertParallelMoE layer = float_moe(ranks);
      Moe moe;
      std::string what;
      try {
        call(layer, moe, ranks->rank());
      } catch (const Error& error) {
        what = error.what();
      }
      const std::lock_guard lock(mutex);
      said[static_cast<std::size_t>(ranks->rank())] = what;
    });
    return said;
  };
  const auto refused = sentences([](const auto& layer, Moe& moe, int rank) {
    moe.ids.template data_as<std::int32_t>()[1] = rank == 0 ? 1 : 2;
    (void)layer(moe.x, moe.weights, moe.ids);
  });
  EXPECT_EQ(refused[0],
            "ExpertParallelMoE: arguments must be valid on all ranks; got an error on rank 1");
  EXPECT_EQ(refused[1], "ExpertParallelMoE: topk_ids[1, 0] must be in [-1, 2); got 2");

  const auto types = sentences([](const auto& layer, Moe& moe, int rank) {
    const Tensor none = Tensor::empty(DType::int32, {2, 2});
    std::fill_n(none.data_as<std::int32_t>(), 4, -1);
    const Tensor weights = Tensor::empty(DType::float32, {2, 2});
    std::fill_n(weights.data_as<float>(), 4, 1.0F);
    if (rank == 0) {
      (void)layer(moe.x, moe.weights, moe.ids);
    } else {
      (void)layer(moe.x, weights, none);
    }
  });
  EXPECT_EQ(types[0],
            "ExpertParallelMoE: topk_ids.shape[1] must be the same on all ranks; got 1 "
            "on rank 0 and 2 on rank 1");
  EXPECT_EQ(types[1], types[0]);
}

// Each rank's own scales: an element of x moves by half a step of either scale at most, and no
// rank's step is longer than the whole row's.
TEST(Fast, IsWithinAStepOfTheWholeLayer) {
  const Weight weight = int8_weight(24, 192);
  const Tensor w = float_values(weight);
  const Tensor x = Tensor::empty(DType::float32, {5, 192});
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    x.data_as<float>()[i] = static_cast<float>(i % 23) / 7.0F - 1.5F;
  }
  const Tensor want = QuantizedLinear(weight)(x);
  const auto bound = [&](std::int64_t m, std::int64_t n) {
    double largest = 0.0, weights = 0.0;
    for (std::int64_t k = 0; k < 192; ++k) {
      largest = std::max(largest, std::abs(double{x.data_as<float>()[m * 192 + k]}));
      weights += std::abs(double{w.data_as<float>()[n * 192 + k]});
    }
    const double roundings = 16 * 0x1p-24 * weights * largest;  // of three sums and their finishing
    return largest / 127 * weights + roundings;
  };
  on_ranks(3, [&](const std::shared_ptr<Communicator>& ranks) {
    const RowParallelLinear layer(weight, {}, ranks, {.mode = ParallelMode::fast});
    const Tensor got = layer(x);
    for (std::int64_t i = 0; i < want.numel(); ++i) {
      EXPECT_NEAR(got.data_as<float>()[i], want.data_as<float>()[i], bound(i / 24, i % 24));
    }
  });
}

}  // namespace
}  // namespace octavo::test::parallel_test
