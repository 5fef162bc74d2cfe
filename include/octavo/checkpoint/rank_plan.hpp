// SPDX-License-Identifier: Apache-2.0
// What a model's linear layers would cost a group of ranks: memory, reading, computing and
// communication, by a stated model (specification section 11), from the headers of its files alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/checkpoint.hpp"

namespace octavo {

/// What one rank's machine does at most.
struct MachineRates {
  std::string name;         ///< of the device or processor
  bool simulated = false;   ///< of a table, not measured
  double read_gbps = 0;     ///< GB/s from memory
  double int8_gops = 0;     ///< multiplications and additions a second, in 1e9
  double float8_gops = 0;   ///< the same of products of 8-bit floats
  double float16_gops = 0;  ///< of bfloat16 and float16
  double float32_gops = 0;  ///< of float32
};

/// The rates of a device by name ("h200"), from its vendor's data sheet; nothing for other names.
OCTAVO_API std::optional<MachineRates> device_rates(std::string_view name);

/// How ranks share a layer.
enum class RankSplit : std::uint8_t {
  columns,     ///< N; its output stays in parts
  rows,        ///< K; sums of all ranks are added
  experts,     ///< whole experts; tokens go to theirs and back
  replicated,  ///< every rank has all of it
};
/// "columns", ...
OCTAVO_API std::string_view rank_split_name(RankSplit split) noexcept;

/// What a group of ranks is made of, and what it is given to do.
struct RankPlanOptions {
  std::int64_t ranks = 1;      ///< how many
  std::int64_t rows = 1;       ///< tokens of a batch
  double network_gbits = 200;  ///< Gb/s of each rank's link, each way
  double latency_us = 10;      ///< of a message
  MachineRates machine;        ///< of each rank
};

/// Layers of one name, numbers aside, of one shape and type. Amounts are those of the rank with the
/// largest part, of all layers together.
struct RankPlanGroup {
  std::string name;                         ///< "model.layers.*.mlp.up_proj"
  RankSplit split = RankSplit::replicated;  ///< how ranks share it
  std::string dtype;                        ///< of the stored codes, in safetensors' spelling
  std::int64_t n = 0, k = 0;                ///< of one layer's weight [n, k]
  std::int64_t layers = 0;                  ///< how many there are; of experts, layers of experts
  std::int64_t experts = 0;                 ///< in each of these
  std::int64_t bytes = 0;                   ///< held: codes, scales, zero points
  /// of a batch: from memory; multiplications and additions
  double bytes_read = 0, operations = 0;
  double bytes_sent = 0, messages = 0;                    ///< one behind the other
  double compute_seconds = 0, communication_seconds = 0;  ///< of a batch, at the machine's rates
};

/// What a model costs a group of ranks.
struct RankPlan {
  std::vector<RankPlanGroup> groups;  ///< in file order
  std::int64_t other_bytes = 0;       ///< of tensors that are no matrices, on every rank
  std::int64_t bytes = 0;             ///< of the rank that holds most
  double compute_seconds = 0, communication_seconds = 0;  ///< of a batch, of all groups
};

/// Plans a model's layers for so many ranks; no weight is read. Which layer is split how follows
/// from its name. Throws Error (invalid_argument: ranks, rows, network or rates that are not
/// positive).
OCTAVO_API RankPlan plan_ranks(const Checkpoint& model, const RankPlanOptions& options);

}  // namespace octavo
