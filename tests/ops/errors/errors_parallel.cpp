// SPDX-License-Identifier: Apache-2.0
// What layers on ranks refuse; what breaks between ranks is in tests/parallel.
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "ops/errors/errors.hpp"

namespace octavo::test {
namespace {

// Rank 0 of two, the other of which says the same, or nearly.
class OtherRank final : public Communicator {
 public:
  /// place: where the words differ in a message of parallel/alike.cpp, whose words have 192 bytes.
  explicit OtherRank(const char* words = nullptr, std::size_t place = 0)
      : words_(words), place_(place) {}
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void all_reduce(Reduction, void*, std::int64_t) override {}
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    char* to = static_cast<char*>(all);
    std::memcpy(to, part, static_cast<std::size_t>(bytes));
    std::memcpy(to + bytes, part, static_cast<std::size_t>(bytes));
    if (words_ != nullptr) {
      std::strcpy(to + bytes + place_, words_);  // NOLINT: shorter than what is there
    }
  }
  void broadcast(int, void*, std::int64_t) override {}
  void send(int, const void*, std::int64_t) override {}
  void receive(int, void*, std::int64_t) override {}

 private:
  const char* words_;
  std::size_t place_;
};

Weight weight_of(std::int64_t n, std::int64_t k) {
  Weight weight;
  weight.scheme = "none";
  weight.codes.data = copy(ones(DType::float32, {n, k}), DType::float32);
  return weight;
}

RowParallelLinear row(const ParallelOptions& options = {}) {
  return RowParallelLinear(weight_of(2, 8), {}, self_communicator(), options);
}

Weight long_llm_int8() {
  Weight weight = quantize_weight(ones(DType::float32, {1, 70000}), Scheme::llm_int8);
  return weight;
}

ExpertWeights experts(std::int64_t count, std::int64_t n, std::int64_t k,
                      const std::optional<ActivationQuant>& rule = {}) {
  const DType dtype = rule ? DType::int8 : DType::float32;
  return pack_experts(ones(dtype, {count, n, k}), {.activation = rule});
}

// Two experts of K = 8, I = 4, N = 3 on one rank.
ExpertParallelMoE moe() {
  return ExpertParallelMoE(experts(2, 8, 8), experts(2, 3, 4), 2, self_communicator());
}

std::function<void()> calling_moe(const FusedExpertsOptions& options) {
  return [=] {
    (void)moe()(ones(DType::float32, {1, 8}), ones(DType::float32, {1, 1}),
                ones(DType::int32, {1, 1}), options);
  };
}

// Rank 0 of two whose other says what it says, but for one word of its heads.
class OtherHead final : public Communicator {
 public:
  OtherHead(std::size_t word, std::int64_t value) : word_(word), value_(value) {}
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void all_reduce(Reduction, void*, std::int64_t) override {}
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    for (int r = 0; r < 2; ++r) {
      std::memcpy(static_cast<char*>(all) + r * bytes, part, static_cast<std::size_t>(bytes));
    }
  }
  void broadcast(int, void*, std::int64_t) override {}
  void send(int, const void*, std::int64_t) override {}
  void receive(int, void*, std::int64_t) override {}
  void all_to_all(const void* parts, std::span<const std::int64_t> bytes, void* all,
                  std::span<const std::int64_t>) override {
    std::memcpy(all, parts, static_cast<std::size_t>(bytes[0] + bytes[1]));
    std::memcpy(static_cast<char*>(all) + bytes[0] + word_ * 8, &value_, 8);
  }

 private:
  std::size_t word_;
  std::int64_t value_;
};

std::function<void()> calling_beside(std::size_t word, std::int64_t value) {
  return [=] {
    const ExpertParallelMoE layer(experts(1, 8, 8), experts(1, 3, 4), 2,
                                  std::make_shared<OtherHead>(word, value));
    (void)layer(ones(DType::float32, {1, 8}), ones(DType::float32, {1, 1}),
                ones(DType::int32, {1, 1}));
  };
}

std::vector<ErrorRow> expert_parallel_errors() {
  const auto made = [](const ExpertWeights& w13, const ExpertWeights& w2, std::int64_t count,
                       const TensorView& bias = {}) {
    return [=] { (void)ExpertParallelMoE(w13, w2, count, self_communicator(), bias); };
  };
  const auto float16 = static_cast<std::int64_t>(DType::float16);
  return {
      {"ExpertParallelWithoutRanks", kInvalid,
       "ExpertParallelMoE: ranks must be a communicator; got none",
       [] { (void)ExpertParallelMoE(experts(2, 8, 8), experts(2, 3, 4), 2, nullptr); }},
      {"ExpertParallelEmpty", kInvalid,
       "ExpertParallelMoE: w13 must be packed experts; got empty ones",
       made({}, experts(2, 3, 4), 2)},
      {"ExpertParallelCount", kInvalid,
       "ExpertParallelMoE: w13.experts must be 3, those of rank 0 of 1 (expert_range); got 2",
       made(experts(2, 8, 8), experts(2, 3, 4), 3)},
      {"ExpertParallelSharedScales", Code::unsupported,
       "ExpertParallelMoE: w13.activation must have static scales or scales of single rows (tokens "
       "lie on several ranks); got tensor",
       made(experts(2, 8, 8, int8_rule(per_tensor())), experts(2, 3, 4, int8_rule(per_token())),
            2)},
      {"ExpertParallelBias", kInvalid,
       "ExpertParallelMoE: bias13 must be float32, bfloat16 or float16 [2, 8]; got float32 [2, 3]",
       made(experts(2, 8, 8), experts(2, 3, 4), 2, ones(DType::float32, {2, 3}))},
      {"ExpertParallelOptions", Code::unsupported,
       "ExpertParallelMoE: bias13, bias2 and expert_map must be undefined in a call (a layer is "
       "made with its biases); got one",
       calling_moe({.bias13 = ones(DType::float32, {2, 8})})},
      {"ExpertParallelIds", kInvalid, "ExpertParallelMoE: topk_ids[0, 0] must be in [-1, 2); got 2",
       [] {
         const TensorView ids = ones(DType::int32, {1, 1});
         *static_cast<std::int32_t*>(ids.data) = 2;
         (void)moe()(ones(DType::float32, {1, 8}), ones(DType::float32, {1, 1}), ids);
       }},
      {"ExpertParallelRefusal", kInvalid,
       "ExpertParallelMoE: arguments must be valid on all ranks; got an error on rank 1",
       calling_beside(0, 1)},
      {"ExpertParallelType", kInvalid,
       "ExpertParallelMoE: x.dtype must be the same on all ranks; got float32 on rank 0 and "
       "float16 on rank 1",
       calling_beside(2, float16)},
      {"ExpertParallelSlots", kInvalid,
       "ExpertParallelMoE: topk_ids.shape[1] must be the same on all ranks; got 1 on rank 0 and 2 "
       "on rank 1",
       calling_beside(3, 2)},
  };
}

}  // namespace

std::vector<ErrorRow> parallel_errors() {
  const TensorView x = ones(DType::float32, {3, 8});
  std::vector<ErrorRow> rows = expert_parallel_errors();
  const std::vector<ErrorRow> of_linear{
      {"RowParallelX", kInvalid,
       "RowParallelLinear: x.shape must be [..., 8], rows() of rank 0, or [..., K = 8]; got [3, 7]",
       [] {
         (void)row()(ones(DType::float32, {3, 7}));
       }},
      {"RowParallelBias", kInvalid,
       "RowParallelLinear: bias must be float32, bfloat16 or float16 [2]; got float32 [3]",
       [] {
         (void)RowParallelLinear(weight_of(2, 8), ones(DType::float32, {3}), self_communicator());
       }},
      {"RowParallelWithoutRanks", kInvalid,
       "RowParallelLinear: ranks must be a communicator; got none",
       [] { (void)RowParallelLinear(weight_of(2, 8), {}, nullptr); }},
      {"RowParallelChunks", kInvalid,
       "RowParallelLinear: options.k_chunks must be in [0, 1048576]; got -1",
       [] { (void)row({.k_chunks = -1}); }},
      {"RowParallelOverlap", kInvalid,
       "RowParallelLinear: options.overlap_rows must be at least 0; got -1",
       [] { (void)row({.overlap_rows = -1}); }},
      {"RowParallelChunksOfACall", Code::unsupported,
       "RowParallelLinear: k_chunks must be 0 in a call (the layer was made with its own); got 2",
       [=] { (void)row()(x, {.matmul = {.k_chunks = 2}}); }},
      {"RowParallelOutliersOfACall", Code::unsupported,
       "RowParallelLinear: outlier_columns, outlier_weight and found_columns must be undefined; "
       "got "
       "one",
       [=] {
         (void)row()(x, {.outlier_weight = ones(DType::float32, {8, 2})});
       }},
      {"RowParallelRotatedFloats", Code::unsupported,
       "RowParallelLinear: weight.activation.rotation must be 0 but of exact sums (int8 by int8 "
       "under scales constant along K) or in the mode fast; got 16",
       [] {
         const Weight w = quantize_weight(ones(DType::float32, {2, 32}), Scheme::fp8_dynamic, 16);
         (void)RowParallelLinear(w, {}, self_communicator());
       }},
      {"RowParallelLongChunks", Code::unsupported,
       "RowParallelLinear: chunks of LLM.int8 must have at most 32768 columns; got 70000",
       [] { (void)RowParallelLinear(long_llm_int8(), {}, self_communicator(), {.k_chunks = 1}); }},
      {"RowParallelOtherRank", kInvalid,
       "RowParallelLinear: version must be the same on all ranks; got 0.1.0 on rank 0 and 0.0.9 on "
       "rank 1",
       [] { (void)RowParallelLinear(weight_of(2, 8), {}, std::make_shared<OtherRank>("0.0.9")); }},
      {"RowParallelFailureOfAnotherRank", kInvalid,
       "RowParallelLinear: arguments must be valid on all ranks; got on rank 1: x must be there",
       [] {
         (void)RowParallelLinear(weight_of(2, 8), {},
                                 std::make_shared<OtherRank>("x must be there", 2 * 192));
       }},
      {"RowParallelPartOfAnotherRank", kInvalid,
       "RowParallelLinear: part must have the columns that shard_range gives its rank; got 6 "
       "instead "
       "of 4 of 12 on rank 0",
       [] {
         (void)RowParallelLinear::of_part(weight_of(2, 6), {}, std::make_shared<OtherRank>());
       }},
      {"RowParallelPartOfLists", Code::unsupported,
       "RowParallelLinear: part must begin with a scale and have no outlier columns (make the "
       "layer "
       "of the whole weight); got one of llm-int8",
       [] {
         Weight weight = quantize_weight(ones(DType::float32, {2, 8}), Scheme::llm_int8);
         weight.activation->outlier_columns = Tensor::empty(DType::int64, {1});
         weight.activation->outlier_columns.data_as<std::int64_t>()[0] = 3;
         (void)RowParallelLinear::of_part(weight, {}, self_communicator());
       }},
      {"ColumnParallelBias", kInvalid, "ColumnParallelLinear: bias.shape must be [2]; got [3]",
       [] {
         (void)ColumnParallelLinear(weight_of(2, 8), ones(DType::float32, {3}),
                                    self_communicator());
       }},
      {"ColumnParallelWithoutRanks", kInvalid,
       "ColumnParallelLinear: ranks must be a communicator; got none",
       [] { (void)ColumnParallelLinear(weight_of(2, 8), {}, nullptr); }},
      {"RowParallelGradientOfAWeight", Code::unsupported,
       "RowParallelLinear: wanted must be a and bias alone (what lies on several ranks is "
       "constant); got others",
       [=] {
         (void)row().vjp(ones(DType::float32, {3, 2}), x, {}, {.b = true});
       }},
      {"RowParallelGradientShape", kInvalid,
       "RowParallelLinear: grad.shape and x.shape must be [..., 2] and [..., 8]; got [2, 2] and "
       "[3, 8]",
       [=] {
         (void)row().vjp(ones(DType::float32, {2, 2}), x, {}, {.a = true});
       }},
      {"ColumnParallelChunks", kInvalid,
       "ColumnParallelLinear: options.k_chunks must be in [0, 1048576]; got -1",
       [] {
         (void)ColumnParallelLinear(weight_of(2, 8), {}, self_communicator(), {.k_chunks = -1});
       }},
      {"ColumnParallelGather", kInvalid,
       "ColumnParallelLinear: y.shape must be [..., 2], columns() of rank 0; got [3, 8]",
       [=] { (void)ColumnParallelLinear(weight_of(2, 8), {}, self_communicator()).gather(x); }},
  };
  rows.insert(rows.end(), of_linear.begin(), of_linear.end());
  return rows;
}

}  // namespace octavo::test
