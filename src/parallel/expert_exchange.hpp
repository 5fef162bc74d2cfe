// SPDX-License-Identifier: Apache-2.0
// What a call of experts on several ranks says to every rank:
//
//   heads     how many records come, and what has to be alike
//   records   codes of tokens                    expert_records.cpp
//   results   float32 rows of routes, which the rank of the tokens adds in the order of slots
//
// and, for gradients, rows of grad and factors behind the records.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "octavo/parallel.hpp"
#include "ops/scratch.hpp"
#include "parallel/expert_records.hpp"

namespace octavo {

inline constexpr const char* kExpertParallel = "ExpertParallelMoE";

struct ExpertParallelMoE::Impl {
  std::shared_ptr<Communicator> ranks;
  std::int64_t experts = 0;
  ShardRange own;
  std::vector<std::int64_t> ends;  ///< of the ranks' experts
  ExpertWeights w13, w2;
  Tensor bias13, bias2;
};

/// Numbers by rank.
using Counts = std::vector<std::int64_t>;
std::int64_t sum(const Counts& counts);
Counts times(Counts counts, std::int64_t factor);

/// What a call of gradients adds to what has to be alike.
struct AskedGradients {
  DType grad = DType::undefined;  ///< undefined: a forward call
  FusedExpertsWanted wanted;
  bool float32 = false;  ///< of their options
};

/// A call's arguments, and where its tokens go.
struct CheckedExperts {
  ExpertCall call;
  FlatOut out;  ///< of a forward call
  Dispatch dispatch;
  AskedGradients gradients;
};

/// Everything but the output.
Result<CheckedExperts> checked_experts(const ExpertParallelMoE::Impl& layer,
                                       const ExpertTensors& tensors, const FusedExpertsOptions& o,
                                       const Backend& backend, const ExecContext& context);

/// How many records each rank sends, whose calls are alike: else the same error on all of them.
Counts exchange_heads(const ExpertParallelMoE::Impl& layer, const Result<CheckedExperts>& c);

/// Tokens that have come to this rank's experts.
struct ArrivedTokens {
  Rows codes;
  TensorView ids;  ///< int32 [records, slots]
};

/// The records of a call, sent and received, in memory of an arena.
class TokenRecords {
 public:
  TokenRecords(const ExpertParallelMoE::Impl& layer, const CheckedExperts& c, const Counts& from,
               const Backend& backend, const ExecContext& context)
      : layer_(layer), c_(c), from_(from), backend_(backend), context_(context) {}

  /// Takes memory; over a counting arena only that, and no exchange follows.
  Status take(Arena& arena);
  Result<ArrivedTokens> exchange();

 private:
  const ExpertParallelMoE::Impl& layer_;
  const CheckedExperts& c_;
  const Counts& from_;
  const Backend& backend_;
  const ExecContext& context_;
  Rows codes_;
  std::optional<RecordLayout> layout_;
  char *sent_ = nullptr, *received_ = nullptr, *shared_ = nullptr;
};

/// The call that this rank's experts answer, routes included.
Result<ExpertCall> answering_call(const ExpertParallelMoE::Impl& layer, const ExpertCall& asked,
                                  const ArrivedTokens& tokens, const TensorView& factors,
                                  const ExecContext& context);

/// How many routes the records of each rank have.
Counts routes_of(const TensorView& ids, const Counts& records);

/// The rows of a routing, which are in the order of experts, in that of records and slots.
std::vector<std::int64_t> rows_in_order(const Routing& routing);

}  // namespace octavo
