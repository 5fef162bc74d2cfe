// SPDX-License-Identifier: Apache-2.0
// Layers on ranks that are threads: specification section 11, and what breaks it is said.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "core/problem/fields.hpp"
#include "octavo/octavo.hpp"
#include "parallel/alike.hpp"
#include "parallel/disagreement_checks.hpp"
#include "parallel/expert_checks.hpp"
#include "parallel/layer_checks.hpp"
#include "parallel/message_checks.hpp"
#include "parallel/random.hpp"
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

// Sums of chunks go from rank to rank in blocks of rows: more rows than one block has, for results
// (many columns) and for gradients (a deep layer).
TEST(ManyRows, GiveTheBitsOfTheWholeLayer) {
  std::mutex mutex;
  for (const LayerSize size : {LayerSize{150, 4096, 48}, LayerSize{150, 48, 4096}}) {
    on_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
      const std::string wrong = check_layer_of_chunks(ranks, size);
      const std::lock_guard lock(mutex);
      EXPECT_EQ(wrong, "") << "on rank " << ranks->rank();
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Sizes, Ranks, testing::Values(1, 2, 3, 4, 5, 8),
                         testing::PrintToStringParamName());

// A layer of a rule of uint8 with a zero point, and x of one number, on two ranks as on one.
void check_sums(const Tensor& w, bool zero_points, float x_value, std::int32_t azp, float sum) {
  Weight weight;
  weight.scheme = "test";
  weight.codes =
      quantize(w, {.dtype = DType::int8, .granularity = per_token(), .azp = zero_points});
  ActivationQuant rule;
  rule.spec.dtype = DType::uint8;
  rule.spec.granularity = per_tensor();
  rule.spec.azp = true;
  rule.static_scale = 1.0F;
  rule.static_azp = azp;
  weight.activation = rule;
  const Tensor x = Tensor::empty(DType::float32, {1, w.size(1)});
  std::fill_n(x.data_as<float>(), x.numel(), x_value);
  const Tensor want = QuantizedLinear(weight)(x);
  on_ranks(2, [&](const std::shared_ptr<Communicator>& ranks) {
    const Tensor got = RowParallelLinear(weight, {}, ranks)(x);
    EXPECT_EQ(got.data_as<float>()[0], want.data_as<float>()[0]);
    EXPECT_EQ(got.data_as<float>()[1], want.data_as<float>()[1]);
    EXPECT_FLOAT_EQ(want.data_as<float>()[0], sum);
  });
}

// Sums of all ranks that 32 bits have no room for: every product 255 * 127, or 255 * 255.
TEST(WideSums, LeaveThirtyTwoBitsOnAllRanksTogether) {
  constexpr std::int64_t kDepth = 70000;
  const Tensor w = Tensor::empty(DType::float32, {2, kDepth});
  std::fill_n(w.data_as<float>(), w.numel(), 127.0F);
  check_sums(w, false, 260.0F, -5, 260.0F * 127.0F * kDepth);
}

TEST(WideSums, OfAWeightWithZeroPointsLeaveThemEarlier) {
  constexpr std::int64_t kDepth = 40000;
  const Tensor w = Tensor::empty(DType::float32, {2, kDepth});
  std::fill_n(w.data_as<float>(), w.numel(), 255.0F);
  w.data_as<float>()[0] = w.data_as<float>()[kDepth] = 0.0F;
  check_sums(w, true, 255.0F, 0, 255.0F * 255.0F * (kDepth - 1));
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

TEST(Parts, ThatNoRankHasAreRefused) {
  const std::string sentence =
      "RowParallelLinear: part must begin with a scale and have no outlier columns (make the layer "
      "of the whole weight); got one of ";
  const auto said = [](const Weight& part) {
    std::string what;
    try {
      on_ranks(1, [&](const auto& ranks) { (void)RowParallelLinear::of_part(part, {}, ranks); });
    } catch (const Error& error) {
      what = error.what();
    }
    return what;
  };
  Weight cut = int8_weight(8, 64);
  cut.codes = quantize(float_values(cut), {.dtype = DType::int8, .granularity = group(32)});
  cut = shard(cut, ShardAxis::rows, {16, 64});
  EXPECT_EQ(said(cut), sentence + cut.scheme);
  Weight listed = int8_weight(8, 64);
  listed.activation->vectorwise = true;
  listed.activation->outlier_columns = Tensor::empty(DType::int64, {0});
  EXPECT_EQ(said(listed), sentence + listed.scheme);
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

TEST(Disagreement, OfAnyArgumentOfAnyCallIsToldOnAllRanks) {
  std::mutex mutex;
  for (int size : {2, 3}) {
    for (int other = 0; other < size; ++other) {
      on_ranks(size, [&](const std::shared_ptr<Communicator>& ranks) {
        const std::string wrong = check_disagreements(ranks, other);
        const std::lock_guard lock(mutex);
        EXPECT_EQ(wrong, "") << "on rank " << ranks->rank();
      });
    }
  }
}

// Wherever an eighth of the rows is another model's.
TEST(Disagreement, OfSomeRowsIsTold) {
  for (std::int64_t part = 0; part < 8; ++part) {
    const std::string said = complaint([&](const auto& ranks) {
      Weight weight = int8_weight(800, 8);
      if (ranks->rank() == 1) {
        auto* codes = weight.codes.data.data_as<std::int8_t>() + part * 100 * 8;
        std::for_each(codes, codes + 100 * 8, [](std::int8_t& code) { code ^= 1; });
      }
      (void)ColumnParallelLinear(weight, {}, ranks);
    });
    EXPECT_NE(said.find("weight.values must be the same on all ranks"), said.npos) << part;
  }
}

// Calls change(name, change of that field) for every field of an activation rule and its spec.
template <class Rule, class Change>
void change_fields(Rule& rule, const Change& change) {
  for_each_field(rule, [&](const char* name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::is_same_v<Field, QuantizeSpec> || std::is_same_v<Field, Granularity>) {
      change_fields(field, change);
    } else if constexpr (std::is_same_v<Field, Tensor>) {
      change(name, [&] {
        field = Tensor::empty(DType::int64, {1});
        *field.template data_as<std::int64_t>() = 3;
      });
    } else if constexpr (std::is_arithmetic_v<Field> || std::is_enum_v<Field>) {
      change(name, [&] {
        field = std::is_same_v<Field, bool> ? static_cast<Field>(field == Field{})
                                            : static_cast<Field>(field == Field{1} ? 2 : 1);
      });
    }
  });
}

TEST(Disagreement, OfAnyFieldOfARuleIsTold) {
  const auto spoken = [](const ActivationQuant& rule) { return rule_words(rule); };
  int fields = 0;
  for (const bool vectorwise : {false, true}) {
    ActivationQuant rule;
    rule.vectorwise = vectorwise;
    rule.spec.scale_ub = 4.0F;
    rule.static_scale = 0.5F;
    const ActivationQuant before = rule;
    const std::string words = spoken(before);
    change_fields(rule, [&](const char* name, const auto& change) {
      change();
      EXPECT_NE(spoken(rule), words) << name;
      EXPECT_LT(spoken(rule).size(), 127U) << name;  // what ranks compare of it
      rule = before;
      ++fields;
    });
  }
  EXPECT_EQ(fields, 2 * 20);
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

// Whatever one rank asks of gradients and the other does not.
TEST(Disagreement, OfWhatGradientsAreAskedIsTold) {
  struct Asked {
    FusedExpertsOptions forward{};
    FusedExpertsWanted wanted{};
    GradientOptions options{};
    DType grad = DType::float32;
  };
  const auto said = [](const auto& change) {
    return complaint([&](const std::shared_ptr<Communicator>& ranks) {
      const Moe moe;
      Asked asked{.wanted = {.x = true}};
      if (ranks->rank() == 1) change(asked);
      const Tensor grad = Dice(1).floats(asked.grad, {2, 4});
      (void)float_moe(ranks).vjp(grad, moe.x, moe.weights, moe.ids, asked.forward, asked.wanted,
                                 asked.options);
    });
  };
  const std::string begin = "ExpertParallelMoE: ", end = " must be the same on all ranks; got ";
  const auto told = [&](const std::string& text, const std::string& what) {
    EXPECT_EQ(text.substr(0, (begin + what + end).size()), begin + what + end);
  };
  told(said([](Asked& a) { a.wanted.topk_weights = true; }), "wanted");
  told(said([](Asked& a) { a.wanted = {.topk_weights = true}; }), "wanted");
  told(said([](Asked& a) { a.options.float32 = true; }), "options.float32");
  told(said([](Asked& a) { a.grad = DType::bfloat16; }), "grad.dtype");
  told(said([](Asked& a) { a.forward.apply_router_weight_on_input = true; }),
       "apply_router_weight_on_input");
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
