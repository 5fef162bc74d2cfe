// SPDX-License-Identifier: Apache-2.0
// One canonical form of a layer's weight, whatever file it comes from: stacked, packed, as floats,
// in parts for the ranks of a group of processes (specification section 11).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "octavo/packed.hpp"
#include "octavo/quantize.hpp"
#include "octavo/shard.hpp"
#include "octavo/tensor.hpp"

namespace octavo {

/// The canonical form of a linear layer's weight: codes, float32 scales, granularity and activation
/// rule. A weight that is not quantised has no scale and no rule.
struct Weight {
  Quantized codes;  ///< [N, K] as stored; scale grid relative to [N, K]
  /// how activations meet the weight; nullopt: as they are
  std::optional<ActivationQuant> activation;
  /// "int8-dynamic", "fp8-dynamic", "fp8-block", "llm-int8", "mxfp8", "int8-weight-only",
  /// "fp8-weight-only" or "none".
  std::string scheme;
  /// "llm-int8": the rows' absolute maxima [N], float32, 127 times the scales. Kept, since the
  /// division may round two of them to one scale. Others: undefined.
  Tensor absmax{};
  /// Act-order files, whose groups' columns lie apart: int64 [K]. Column j of the codes multiplies
  /// column columns[j] of the activations. Undefined: in order. A slice along K (shard) has its
  /// part of the list, of columns of the whole activations.
  Tensor columns{};
};

/// Quantised experts that a file holds in one tensor, in the form that pack_experts takes.
struct ExpertStack {
  Tensor codes;             ///< [E, N, K]
  Tensor scale;             ///< float32: [E, ...], as PackExpertsOptions says for the granularity
  Granularity granularity;  ///< of `scale`, on a stored expert [N, K]
  /// how activations meet the weights; nullopt: as they are
  std::optional<ActivationQuant> activation{};
  std::string scheme;  ///< as Weight's
};

/// Weights of layers that read the same activations (query, key and value; gate and up), stacked
/// along N into one. Nothing is lost: a scale that covered a whole shard is repeated for each of
/// its rows, blocks are cut where shards meet inside one. Static activation scales become one that
/// covers them all (the largest; with zero points the union of the ranges), lists of outlier
/// columns their union. Throws Error (invalid_argument) for shards that differ in K, type, scheme
/// or activation rule.
OCTAVO_API Weight fuse(std::span<const Weight> weights);

/// The float matrix [N, K] that a canonical weight stands for, its columns in the order of the
/// activations, rotated back where the rule of its activations rotates. Throws Error
/// (invalid_argument, too, for a slice of an act-order weight, whose columns lie all over K).
OCTAVO_API Tensor float_values(const Weight& weight, DType dtype = DType::float32);

/// Packs a canonical weight; its activation rule travels with it. Throws Error: invalid_argument,
/// too, for a weight with `columns`, unless `gathered` says that the activations will come in that
/// order.
OCTAVO_API PackedWeight pack(const Weight& weight, const char* backend = nullptr,
                             bool gathered = false);

/// The dimension of a product x @ B[K, N] that ranks share. A weight is stored as [N, K].
enum class ShardAxis : std::uint8_t {
  columns,  ///< N: every rank has all activations and gives some columns of the output
  rows,     ///< K: every rank has some columns of the activations; the ranks' sums are added
};

/// The cell that ranges of a weight are made of whole. By columns as tall as one of its scales, 1
/// where that spans N. By rows whole cells of its scales, whole groups and whole rotated blocks of
/// its activations, as MatmulOptions::k_chunks has them: all of K where a cell that could be
/// shorter spans it, 1 where scales are constant along K.
OCTAVO_API std::int64_t shard_cell(const Weight& weight, ShardAxis axis);

/// The part of a weight's extent that a rank has: shard_range with that cell. Throws Error
/// (invalid_argument) unless 0 <= rank < world <= 2^20.
OCTAVO_API ShardRange shard_range(const Weight& weight, ShardAxis axis, std::int64_t rank,
                                  std::int64_t world);

/// A part of a weight, of its own memory, without a change of any bit:
///
/// - codes and float weights: by columns (N) their rows, by rows (K) their columns
/// - scales and zero points: the cells that it touches. Where a border cuts a cell, both parts have
///   it, and Quantized::row0 and col0 say where they begin in it.
/// - absmax: by columns its rows, by rows all of them
/// - columns of act-order: by columns all of them, by rows its part of the list, whose entries stay
///   columns of the whole activations
/// - outlier columns: by columns all of them, by rows those inside, counted from its begin
/// - static scales: as they are
///
/// The part of an act-order weight along K multiplies x[..., columns] of all activations: no rank
/// has them all in its own slice of x. A part that begins inside a group of its activations gets
/// other activation scales than the whole: shard_range gives none.
///
/// Throws Error (invalid_argument) for a range outside the extent.
OCTAVO_API Weight shard(const Weight& weight, ShardAxis axis, const ShardRange& range);
/// The part of a rank, by shard_range.
OCTAVO_API Weight shard(const Weight& weight, ShardAxis axis, std::int64_t rank,
                        std::int64_t world);

/// The whole of parts that follow each other, empty ones among them: shard's exact inverse. Throws
/// Error (invalid_argument) for parts that are none of one weight: other extents, types, schemes,
/// activation rules; a scale of a cell that two parts share which differs between them.
OCTAVO_API Weight unshard(std::span<const Weight> parts, ShardAxis axis);

/// The part of a bias [N] (or [1, N]) beside a part by columns. By rows there is none: a bias is
/// added once, to the sum of all ranks. Throws Error (invalid_argument).
OCTAVO_API Tensor shard_bias(const TensorView& bias, const ShardRange& range);

/// The experts of a rank: every rank has as many to within one, since nothing is summed over them.
/// Throws Error (invalid_argument).
OCTAVO_API ShardRange expert_range(std::int64_t experts, std::int64_t rank, std::int64_t world);
/// Those of a stack, each of them whole. Throws Error (invalid_argument).
OCTAVO_API ExpertStack shard_experts(const ExpertStack& stack, std::int64_t rank,
                                     std::int64_t world);

}  // namespace octavo
