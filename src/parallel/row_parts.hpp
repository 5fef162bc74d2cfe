// SPDX-License-Identifier: Apache-2.0
// What a rank keeps of a row-parallel layer, and the steps of a call.
//
//   x [M, rows()]   codes with scales of whole rows               row_activations.cpp
//   parts of K      sums, reduced as integers or chunk by chunk   row_sums.cpp
//   finish          scales, bias, one conversion                  row_linear.cpp
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/error.hpp"
#include "octavo/parallel.hpp"

namespace octavo {

inline constexpr const char* kRowParallel = "RowParallelLinear";

/// What the sums of a layer are.
enum class RowSums : std::uint8_t {
  exact,   ///< int32, under scales that are constant along K
  wide,    ///< the same, where the sums of all ranks may leave 32 bits
  chunks,  ///< float32, of chunks of K
};

/// Columns of x that one packed weight multiplies, counted in the rank's own.
struct RowPart {
  ShardRange columns;
  PackedWeight weight;
};

struct RowParallelLinear::Impl {
  std::shared_ptr<Communicator> ranks;
  ParallelOptions options;
  std::int64_t k = 0, n = 0;
  std::int64_t cell = 1;                ///< of K, that no border cuts: groups of scales
  ShardRange rows;                      ///< of K
  std::vector<RowPart> parts;           ///< in ascending K, none of them empty
  Weight beside;                        ///< the rank's part without its codes
  PackedWeight first_row;               ///< of K, for the scales that are constant along it
  std::optional<ActivationQuant> rule;  ///< of the whole layer
  RowSums sums = RowSums::chunks;
  Tensor
      column_sums;  ///< int64 [N]: of all of the weight's rows; where activations have zero points
  Tensor bias;

  int rank() const noexcept { return ranks->rank(); }
  int size() const noexcept { return ranks->size(); }
};

/// x as products take it.
struct RowActivations {
  std::vector<Tensor> memory;  ///< what views lie in
  TensorView codes;            ///< [M, rows()], or x itself
  CarriedScale scale;          ///< of its first level; no kind: none
  TensorView azp;              ///< int32, one or [M, 1]; undefined: none
  /// LLM.int8: the rank's outlier columns, of its columns of x.
  TensorView x;
  std::vector<std::int64_t> outliers, whole;
  float threshold = 0.0F;  ///< Outliers'

  /// Codes of some columns, with scales where they vary along K.
  Operand operand(const ShardRange& columns) const;
};

/// Quantises the rank's columns x [M, rows()] by the layer's rule, with the scales of whole rows.
RowActivations row_activations(const RowParallelLinear::Impl& layer, const TensorView& x,
                               const LinearOptions& options, const ExecContext& context);

/// Whether this rank has the sums of all: of chunks the last one, of integers every one.
inline bool finishes(const RowParallelLinear::Impl& layer) noexcept {
  return layer.sums != RowSums::chunks || layer.rank() == layer.size() - 1;
}
/// Sums of all ranks, [M, N], where it finishes: int32, or float32 where they are more than that.
Tensor row_sums(const RowParallelLinear::Impl& layer, const RowActivations& x,
                const LinearOptions& options, const ExecContext& context);
/// LLM.int8's outlier sums, float32 [M, N], the same on all ranks.
Tensor row_outlier_sums(const RowParallelLinear::Impl& layer, const RowActivations& x,
                        const LinearOptions& options, const ExecContext& context);

}  // namespace octavo
