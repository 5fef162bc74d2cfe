// SPDX-License-Identifier: Apache-2.0
// What layers on ranks refuse; what breaks between ranks is in tests/parallel.
#include <cstring>
#include <utility>

#include "ops/errors.hpp"

namespace octavo::test {
namespace {

constexpr Code kInvalid = Code::invalid_argument;

// Rank 0 of two, the other of which says nearly the same.
class OtherVersion final : public Communicator {
 public:
  int rank() const noexcept override { return 0; }
  int size() const noexcept override { return 2; }
  void all_reduce(Reduction, void*, std::int64_t) override {}
  void all_gather(const void* part, std::int64_t bytes, void* all) override {
    char* to = static_cast<char*>(all);
    std::memcpy(to, part, static_cast<std::size_t>(bytes));
    std::memcpy(to + bytes, part, static_cast<std::size_t>(bytes));
    std::strcpy(to + bytes, "0.0.9");  // NOLINT: shorter than what is there
  }
  void broadcast(int, void*, std::int64_t) override {}
  void send(int, const void*, std::int64_t) override {}
  void receive(int, void*, std::int64_t) override {}
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

}  // namespace

std::vector<ErrorRow> parallel_errors() {
  const TensorView x = ones(DType::float32, {3, 8});
  return {
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
      {"RowParallelLongChunks", Code::unsupported,
       "RowParallelLinear: chunks of LLM.int8 must have at most 32768 columns; got 70000",
       [] { (void)RowParallelLinear(long_llm_int8(), {}, self_communicator(), {.k_chunks = 1}); }},
      {"RowParallelOtherRank", kInvalid,
       "RowParallelLinear: version must be the same on all ranks; got 0.1.0 on rank 0 and 0.0.9 on "
       "rank 1",
       [] { (void)RowParallelLinear(weight_of(2, 8), {}, std::make_shared<OtherVersion>()); }},
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
}

}  // namespace octavo::test
