// SPDX-License-Identifier: Apache-2.0
// wgmma in flight: every warp of a warpgroup multiplies its sixteen rows by itself, at a time of
// its own.
//
// Sums are taken from a warp's registers when it issues a product and poisoned there; they come
// back when it waits. Operands in shared memory are read at that wait, the last legal moment.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "backends/cuda/machine/types.hpp"

namespace octavo::cuda::simulator {

/// Sums of a warp while the tensor cores have them.
struct Sums {
  std::uint32_t registers = 0;        // of a lane
  std::array<void*, 32> owners{};     // by lane: where they are in the kernel
  std::vector<std::uint32_t> values;  // [lane][register]
  int in_flight = 0;                  // products that add to them
};

/// A warp's part of one wgmma.
struct Product {
  MmaType type;
  std::uint32_t columns;
  std::uint64_t a, b;  // descriptors
  bool accumulate;
  Sums* sums;
};

struct ProductGroup {
  std::vector<Product> products;
  double end = 0;
};

struct WarpProducts {
  bool fenced = false;
  std::uint64_t issued = 0;
  ProductGroup open;
  std::deque<ProductGroup> groups;
  std::map<const void*, std::unique_ptr<Sums>> sums;  // by lane 0's
};

struct TensorCores {
  explicit TensorCores(std::uint32_t count) : warps(count) {}

  bool in_flight() const {
    for (const WarpProducts& warp : warps)
      if (!warp.open.products.empty() || !warp.groups.empty()) return true;
    return false;
  }

  std::vector<WarpProducts> warps;
  /// What the warps of a warpgroup issued as their n-th wgmma, until all four have.
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::vector<std::array<std::uint64_t, 3>>>
      issued;
};

}  // namespace octavo::cuda::simulator
