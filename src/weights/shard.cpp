// SPDX-License-Identifier: Apache-2.0
// Weights cut into parts.
#include "weights/shard.hpp"

#include <algorithm>
#include <vector>

#include "core/data/cells.hpp"
#include "core/error.hpp"
#include "core/scales/grid.hpp"
#include "weights/outlier_columns.hpp"

namespace octavo {
namespace {

constexpr const char* kShard = "shard";

const char* extent_name(ShardAxis axis) { return axis == ShardAxis::columns ? "N" : "K"; }
/// Of the stored weight [N, K].
int dimension(ShardAxis axis) { return axis == ShardAxis::columns ? 0 : 1; }

std::int64_t extent_of(const Weight& weight, ShardAxis axis) {
  return weight.codes.data.size(dimension(axis));
}

void check_matrix(const Weight& weight) {
  if (weight.codes.data.rank() == 2) return;
  refuse(Code::invalid_argument, "{}: weight.codes.data must be 2-D, [N, K]; got {}", kShard,
         shape_string(weight.codes.data));
}

void check_range(const char* what, const char* name, const ShardRange& range, std::int64_t extent) {
  if (range.begin >= 0 && range.begin <= range.end && range.end <= extent) return;
  refuse(Code::invalid_argument, "{} must lie in [0, {} = {}]; got [{}, {})", what, name, extent,
         range.begin, range.end);
}

/// A slice as a tensor of its own, row-major.
Tensor part_of(const Tensor& whole, int dim, std::int64_t begin, std::int64_t end) {
  if (!whole.defined()) return {};
  return copy(whole.view().slice(dim, begin, end), whole.dtype());
}

/// The cells that a range touches, and where it begins in the first.
struct CellRange {
  CellRange(const ShardRange& range, std::int64_t origin, std::int64_t cell) {
    if (cell == kWholeExtent) return;
    if (range.size() == 0) {
      end = 0;
      return;
    }
    begin = (origin + range.begin) / cell;
    end = cells(origin + range.end, cell);
    inside = (origin + range.begin) % cell;
  }
  std::int64_t begin = 0, end = 1;
  std::int64_t inside = 0;
};

void check_scales(const Quantized& codes) {
  const bool known = in_first_cell(codes.row0, codes.grid.rows) &&
                     in_first_cell(codes.col0, codes.grid.cols) && codes.scale.rank() == 2;
  const std::int64_t down = known ? cells(codes.row0 + codes.data.size(0), codes.grid.rows) : 0;
  const std::int64_t across = known ? cells(codes.col0 + codes.data.size(1), codes.grid.cols) : 0;
  const auto covers = [&](const Tensor& t) {
    return t.rank() == 2 && t.size(0) == down && t.size(1) == across;
  };
  if (known && covers(codes.scale) && (!codes.azp.defined() || covers(codes.azp))) return;
  refuse(
      Code::invalid_argument,
      "{}: weight.codes.scale, and azp where there is one, must be [{}, {}] for cells of {} x {} "
      "from [{}, {}] on; got {}",
      kShard, down, across, codes.grid.rows, codes.grid.cols, codes.row0, codes.col0,
      shape_string(codes.scale));
}

void shard_scales(const Quantized& whole, ShardAxis axis, const ShardRange& range,
                  Quantized& part) {
  if (!whole.scale.defined()) return;
  check_scales(whole);
  const int dim = dimension(axis);
  part.grid = whole.grid;
  part.row0 = whole.row0;
  part.col0 = whole.col0;
  std::int64_t& origin = dim == 0 ? part.row0 : part.col0;
  const CellRange touched(range, origin, dim == 0 ? whole.grid.rows : whole.grid.cols);
  origin = touched.inside;
  part.scale = part_of(whole.scale, dim, touched.begin, touched.end);
  part.azp = part_of(whole.azp, dim, touched.begin, touched.end);
}

/// Listed columns inside the range, counted from its begin.
Tensor shard_outliers(const Tensor& columns, const ShardRange& range) {
  std::vector<std::int64_t> inside;
  for (const std::int64_t column : outlier_column_list(columns)) {
    if (column >= range.begin && column < range.end) inside.push_back(column - range.begin);
  }
  return outlier_column_tensor(Code::invalid_argument, "shard: outlier_columns", inside,
                               range.size());
}

/// experts * p / world, within 63 bits.
ShardRange experts_of(std::int64_t experts, std::int64_t rank, std::int64_t world) {
  const auto border = [&](std::int64_t p) {
    return experts / world * p + experts % world * p / world;
  };
  return {border(rank), border(rank + 1)};
}

}  // namespace

void check_rank(const char* operation, std::int64_t rank, std::int64_t world) {
  constexpr std::int64_t kMostRanks = std::int64_t{1} << 20;
  if (world < 1 || world > kMostRanks) {
    refuse(Code::invalid_argument, "{}: world must be in [1, {}]; got {}", operation, kMostRanks,
           world);
  }
  if (rank >= 0 && rank < world) return;
  refuse(Code::invalid_argument, "{}: rank must be in [0, world = {}); got {}", operation, world,
         rank);
}

Weight shard_beside_codes(const Weight& weight, ShardAxis axis, const ShardRange& range) {
  check_matrix(weight);
  check_range("shard: range", extent_name(axis), range, extent_of(weight, axis));
  Weight part;
  part.scheme = weight.scheme;
  part.activation = weight.activation;
  part.absmax = weight.absmax;
  part.columns = weight.columns;
  shard_scales(weight.codes, axis, range, part.codes);
  if (axis == ShardAxis::columns) {
    part.absmax = part_of(weight.absmax, 0, range.begin, range.end);
    return part;
  }
  part.columns = part_of(weight.columns, 0, range.begin, range.end);
  if (part.activation) {
    Tensor& columns = part.activation->outlier_columns;
    columns = shard_outliers(columns, range);
  }
  return part;
}

std::int64_t shard_cell(const Weight& weight, ShardAxis axis) {
  return at_edge("shard_cell", [&]() -> std::int64_t {
    check_matrix(weight);
    const std::int64_t extent = extent_of(weight, axis);
    const ScaleGrid& grid = weight.codes.grid;
    const bool scaled = weight.codes.scale.defined();
    if (axis == ShardAxis::columns) return scaled && grid.rows < extent ? grid.rows : 1;
    const std::int64_t own = scaled && grid.cols != kWholeExtent ? grid.cols : 1;
    if (!weight.activation) return common_cell(own, 1, extent);
    const std::int64_t grouped = common_cell(own, group_length(*weight.activation), extent);
    return common_cell(grouped, std::max(weight.activation->rotation, 1), extent);
  });
}

ShardRange shard_range(const Weight& weight, ShardAxis axis, std::int64_t rank,
                       std::int64_t world) {
  return at_edge("shard_range", [&] {
    check_rank("shard_range", rank, world);
    return shard_range(extent_of(weight, axis), rank, world, shard_cell(weight, axis));
  });
}

Weight shard(const Weight& weight, ShardAxis axis, const ShardRange& range) {
  return at_edge(kShard, [&] {
    Weight part = shard_beside_codes(weight, axis, range);
    part.codes.data = part_of(weight.codes.data, dimension(axis), range.begin, range.end);
    return part;
  });
}

Weight shard(const Weight& weight, ShardAxis axis, std::int64_t rank, std::int64_t world) {
  return at_edge(kShard, [&] {
    check_rank(kShard, rank, world);
    check_matrix(weight);
    return shard(weight, axis, shard_range(weight, axis, rank, world));
  });
}

Tensor shard_bias(const TensorView& bias, const ShardRange& range) {
  return at_edge("shard_bias", [&] {
    const bool row = bias.rank == 1 || (bias.rank == 2 && bias.shape[0] == 1);
    if (!row) {
      refuse(Code::invalid_argument, "shard_bias: bias.shape must be [N] or [1, N]; got {}",
             shape_string(bias));
    }
    const int last = bias.rank - 1;
    check_range("shard_bias: range", "N", range, bias.shape[static_cast<std::size_t>(last)]);
    return copy(bias.slice(last, range.begin, range.end), bias.dtype);
  });
}

ShardRange expert_range(std::int64_t experts, std::int64_t rank, std::int64_t world) {
  return at_edge("expert_range", [&] {
    check_rank("expert_range", rank, world);
    if (experts < 0) {
      refuse(Code::invalid_argument, "expert_range: experts must be at least 0; got {}", experts);
    }
    return experts_of(experts, rank, world);
  });
}

ExpertStack shard_experts(const ExpertStack& stack, std::int64_t rank, std::int64_t world) {
  return at_edge("shard_experts", [&] {
    check_rank("shard_experts", rank, world);
    const Tensor& codes = stack.codes;
    const bool scaled = stack.scale.defined();
    if (codes.rank() != 3 ||
        (scaled && (stack.scale.rank() < 1 || stack.scale.size(0) != codes.size(0)))) {
      refuse(Code::invalid_argument,
             "shard_experts: stack must be codes [E, N, K] and scales [E, ...]; got {} and {}",
             shape_string(codes), scaled ? shape_string(stack.scale) : "none");
    }
    const ShardRange own = experts_of(codes.size(0), rank, world);
    ExpertStack part = stack;
    part.codes = part_of(codes, 0, own.begin, own.end);
    part.scale = part_of(stack.scale, 0, own.begin, own.end);
    return part;
  });
}

}  // namespace octavo
