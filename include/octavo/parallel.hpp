// SPDX-License-Identifier: Apache-2.0
// Linear layers whose weights lie on several ranks: processes that call the same layers in the same
// order, and talk through a Communicator.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "octavo/gradient.hpp"
#include "octavo/layers.hpp"
#include "octavo/linear.hpp"
#include "octavo/moe.hpp"
#include "octavo/weight.hpp"

namespace octavo {

/// What all_reduce does with the elements of all ranks.
enum class Reduction : std::uint8_t {
  max_int32,  ///< the largest; of bits of float32 that are not negative, NaN's where there is one
  sum_int32,
  sum_int64,
  sum_float32,  ///< in any order
};

/// What ranks say to each other: MPI (octavo/mpi.hpp), torch.distributed (octavo.torch.parallel),
/// or an engine of the caller's. Memory is the host's. Every function returns when its rank's part
/// is done, and throws Error (unavailable) where another rank is gone, which ends in a bounded
/// time.
class OCTAVO_API Communicator {
 public:
  virtual ~Communicator();
  /// This rank, from 0.
  virtual int rank() const noexcept = 0;
  /// How many ranks there are.
  virtual int size() const noexcept = 0;
  /// In place, the same result on all ranks.
  virtual void all_reduce(Reduction reduction, void* data, std::int64_t count) = 0;
  /// all_reduce beside what the caller does next: data stays the engine's until wait(), which ends
  /// the oldest that was started, has come back. What is not overridden reduces at once.
  virtual void start_all_reduce(Reduction reduction, void* data, std::int64_t count);
  /// Ends the oldest reduction that was started.
  virtual void wait();
  /// Whether reductions that were started go on by themselves.
  virtual bool overlaps() const noexcept;
  /// Parts of one size, one after the other in the order of ranks.
  virtual void all_gather(const void* part, std::int64_t bytes, void* all) = 0;
  /// From the rank `root` to all others.
  virtual void broadcast(int root, void* data, std::int64_t bytes) = 0;
  /// To one rank, which calls receive with as many bytes.
  virtual void send(int to, const void* data, std::int64_t bytes) = 0;
  /// From one rank, which calls send with as many bytes.
  virtual void receive(int from, void* data, std::int64_t bytes) = 0;
  /// A part for each rank, one after the other in the order of ranks, and one from each of them:
  /// bytes_to[r] for rank r, which expects as many in its bytes_from[rank()]. What is not
  /// overridden sends and receives, pair by pair in an order in which no rank waits for one that
  /// waits for it.
  virtual void all_to_all(const void* parts, std::span<const std::int64_t> bytes_to, void* all,
                          std::span<const std::int64_t> bytes_from);
};

/// One rank alone.
OCTAVO_API std::shared_ptr<Communicator> self_communicator();

/// How sums of ranks become one (specification section 11).
enum class ParallelMode : std::uint8_t {
  /// The result does not depend on how many ranks there are: scales are those of whole rows, and
  /// sums are reduced before anything rounds them, or as chunks of K in their order.
  exact,
  /// Every rank quantises its own part of x by its own scales, and float32 results are added.
  fast,
};

/// How ranks share a layer's product.
struct ParallelOptions {
  ParallelMode mode = ParallelMode::exact;  ///< of the sums over ranks
  /// `exact`: of sums over ranks that are not of integers under scales which K shares. A result has
  /// the same bits on every number of ranks that divides k_chunks; on another number n, those of
  /// k_chunks = n. Row-parallel they are those of `linear` with that option; column-parallel it is
  /// the gradient of x whose sums over N go in chunks.
  std::int32_t k_chunks = 24;
  /// Row-parallel sums of integers, where the engine overlaps: rows of x whose sums travel while
  /// the next ones are multiplied. 0: as many as have 1 MB of them, and at least 128, for which the
  /// weight is read once more.
  std::int64_t overlap_rows = 0;
  const char* backend = nullptr;  ///< as of pack
};

/// y = x @ W^T + bias for a weight [N, K] whose rows (of N) are shared out: rank r has those of
/// shard_range(weight, ShardAxis::columns, r, size).
class OCTAVO_API ColumnParallelLinear {
 public:
  ColumnParallelLinear() = default;
  /// weight, bias: all of the layer's, of which the rank takes its part. Ranks that bring different
  /// layers, options or versions are told so. Throws Error.
  ColumnParallelLinear(const Weight& weight, const TensorView& bias,
                       std::shared_ptr<Communicator> ranks, const ParallelOptions& options = {});

  /// The same of a part that is there already, as shard gives it and read_shard reads it of one
  /// layer; bias: of its rows. Throws Error.
  static ColumnParallelLinear of_part(const Weight& part, const TensorView& bias,
                                      std::shared_ptr<Communicator> ranks,
                                      const ParallelOptions& options = {});

  /// K of the whole layer.
  std::int64_t in_features() const noexcept { return local_.in_features(); }
  /// N of the whole layer.
  std::int64_t out_features() const noexcept { return n_; }
  /// The columns of y that this rank makes.
  ShardRange columns() const noexcept { return columns_; }
  /// The part that this rank has.
  const QuantizedLinear& local() const noexcept { return local_; }
  /// The rank's part of the weight, unpacked: shard's, bit for bit. Throws Error.
  Weight part() const;
  /// x [..., K], the same on all ranks, to y [..., columns()]: the bits of those columns of the
  /// whole layer's. Throws Error.
  Tensor operator()(const TensorView& x, const LinearOptions& options = {},
                    const ExecContext& context = {}) const;
  /// All of y from each rank's columns. Throws Error: on all ranks where one of them calls
  /// otherwise, or with what it may not.
  Tensor gather(const TensorView& y) const;
  /// What linear_vjp gives, of grad [..., columns()] and the x of the call. Wanted are a: the
  /// gradient of x, a sum over all columns, the same on all ranks (all have to ask for it); and
  /// bias: of columns(). Throws Error: on all ranks, as gather.
  MatmulGradients vjp(const TensorView& grad, const TensorView& x, const LinearOptions& forward,
                      const MatmulWanted& wanted, const ExecContext& context = {}) const;

 private:
  void make(Weight part, const TensorView& bias, std::shared_ptr<Communicator> ranks,
            const ParallelOptions& options, std::int64_t n, std::int64_t cell);

  QuantizedLinear local_;
  std::shared_ptr<Communicator> ranks_;
  ParallelOptions options_;
  Weight beside_;  // the rank's part without its codes
  std::int64_t n_ = 0;
  std::int64_t cell_ = 1;  // of N, that no border cuts
  ShardRange columns_;
  std::vector<std::int64_t> ends_;  // of the ranks' columns
};

/// y = x @ W^T + bias for a weight [N, K] whose columns (of K) are shared out: rank r has those of
/// shard_range(weight, ShardAxis::rows, r, size), and of x the same ones, as a column-parallel
/// layer before it leaves them. y is the same on all ranks.
class OCTAVO_API RowParallelLinear {
 public:
  RowParallelLinear() = default;
  /// weight: all of the layer's, of which the rank takes its part; bias: float type, [N]. Ranks
  /// that bring different layers, options or versions are told so. Throws Error.
  RowParallelLinear(const Weight& weight, const TensorView& bias,
                    std::shared_ptr<Communicator> ranks, const ParallelOptions& options = {});

  /// The same of a part that is there already, as shard gives it and read_shard reads it, which has
  /// no outlier columns of its own. Throws Error.
  static RowParallelLinear of_part(const Weight& part, const TensorView& bias,
                                   std::shared_ptr<Communicator> ranks,
                                   const ParallelOptions& options = {});

  /// K of the whole layer.
  std::int64_t in_features() const noexcept;
  /// N of the whole layer.
  std::int64_t out_features() const noexcept;
  /// The columns of x that this rank multiplies.
  ShardRange rows() const noexcept;
  /// The rank's part of the weight, unpacked: shard's, bit for bit. Throws Error.
  Weight part() const;
  /// x [..., rows()], or [..., K], of which the rank takes its part; all ranks call with the same
  /// leading dimensions, types and options. A NaN in one rank's part shows in every rank's row.
  /// Throws Error: on all ranks where one of them calls otherwise, or with what it may not.
  Tensor operator()(const TensorView& x, const LinearOptions& options = {},
                    const ExecContext& context = {}) const;
  /// What linear_vjp gives, of grad [..., N] and x [..., rows()]; a: the gradient of x, those
  /// columns of the whole layer's, bit for bit; and bias. Nothing is said to other ranks. Throws
  /// Error.
  MatmulGradients vjp(const TensorView& grad, const TensorView& x, const LinearOptions& forward,
                      const MatmulWanted& wanted, const ExecContext& context = {}) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

/// fused_experts over experts that are shared out, rank r has those of
/// expert_range(experts, r, size), and tokens that are, too: each rank brings its own, and gets
/// theirs. Between ranks travel, once for each rank that has experts of a token, its codes by w13's
/// rule with their scales (without a rule the row of x, with apply_router_weight_on_input a row for
/// each slot), and back what experts made of it in float32, a row for each slot.
class OCTAVO_API ExpertParallelMoE {
 public:
  ExpertParallelMoE() = default;
  /// w13, w2: the rank's experts, of which there may be none, out of so many on all ranks; bias13
  /// [E, 2 I], bias2 [E, N]: float types, of the rank's. Rules whose scales several rows share are
  /// refused. Ranks that bring other shapes, types, rules or versions are told so. Throws Error.
  ExpertParallelMoE(const ExpertWeights& w13, const ExpertWeights& w2, std::int64_t experts,
                    std::shared_ptr<Communicator> ranks, const TensorView& bias13 = {},
                    const TensorView& bias2 = {});

  /// Of all ranks.
  std::int64_t experts() const noexcept;
  /// Of this one.
  ShardRange local() const noexcept;
  /// The bits that fused_experts gives for the rank's tokens with the experts of all ranks,
  /// whatever number of ranks there is. All ranks call, with x of one type and ids of as many
  /// slots, and with any number of tokens, or none. topk_ids are in [-1, experts()). What one rank
  /// refuses is an error on all of them. Of the options biases and expert_map stay undefined;
  /// context.workspace is not used. Throws Error.
  Tensor operator()(const TensorView& x, const TensorView& topk_weights, const TensorView& topk_ids,
                    const FusedExpertsOptions& options = {}, const ExecContext& context = {}) const;

  /// The bits that fused_experts_vjp gives for the rank's tokens, of the rank's grad, with the
  /// experts of all ranks; bias13 and bias2: of the rank's experts, sums over the tokens of all
  /// ranks in their order. All ranks call, and want the same. Rows of grad travel with the tokens,
  /// in grad's type. Throws Error.
  FusedExpertsGradients vjp(const TensorView& grad, const TensorView& x,
                            const TensorView& topk_weights, const TensorView& topk_ids,
                            const FusedExpertsOptions& forward, const FusedExpertsWanted& wanted,
                            const GradientOptions& options = {},
                            const ExecContext& context = {}) const;

  struct Impl;

 private:
  std::shared_ptr<const Impl> impl_;
};

}  // namespace octavo
