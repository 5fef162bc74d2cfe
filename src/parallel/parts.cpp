// SPDX-License-Identifier: Apache-2.0
#include "parallel/parts.hpp"

#include <array>
#include <numeric>
#include <vector>

#include "core/error.hpp"

namespace octavo {
namespace {

// shard_cell of a weight of other extents, of which there are no elements.
std::int64_t cell_of(Weight part, ShardAxis axis, std::int64_t extent) {
  static constexpr std::array<char, 4> kNothing{};
  std::array<std::int64_t, 2> shape{part.codes.data.size(0), part.codes.data.size(1)};
  shape[axis == ShardAxis::columns ? 0 : 1] = extent;
  TensorView view(kNothing.data(), part.codes.data.dtype(), {shape[0], shape[1]});
  view.strides = {0, 0};
  part.codes.data = Tensor::adopt(nullptr, view);
  return shard_cell(part, axis);
}

}  // namespace

WholeExtent whole_extent(const char* layer, Communicator& ranks, const Weight& part,
                         ShardAxis axis) {
  const auto count = static_cast<std::size_t>(ranks.size());
  const std::int64_t own = part.codes.data.size(axis == ShardAxis::columns ? 0 : 1);
  std::vector<std::int64_t> sizes(count);
  ranks.all_gather(&own, sizeof own, sizes.data());
  WholeExtent whole;
  whole.extent = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  whole.cell = cell_of(part, axis, whole.extent);
  for (std::size_t r = 0; r < count; ++r) {
    const std::int64_t want =
        shard_range(whole.extent, static_cast<std::int64_t>(r), ranks.size(), whole.cell).size();
    if (sizes[r] == want) continue;
    refuse(Code::invalid_argument,
           "{}: part must have the {} that shard_range gives its rank; got {} instead of {} of {} "
           "on rank {}",
           layer, axis == ShardAxis::columns ? "rows" : "columns", sizes[r], want, whole.extent, r);
  }
  return whole;
}

}  // namespace octavo
