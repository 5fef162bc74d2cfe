// SPDX-License-Identifier: Apache-2.0
// Routes: which rows each expert has.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "octavo/context.hpp"
#include "octavo/status.hpp"
#include "octavo/tensor.hpp"
#include "ops/site.hpp"

namespace octavo {

/// An expert with rows [begin, end) of all routed rows.
struct TouchedExpert {
  std::int64_t expert, begin, end;
  std::int64_t rows() const noexcept { return end - begin; }
};

/// Rows follow each other by expert, then by token, then by slot. A route is token * slots + slot.
struct Routing {
  std::int64_t tokens = 0, slots = 0;
  std::vector<std::int64_t> places;  ///< [tokens * slots]: a route's row, -1: none
  std::vector<std::int64_t> routes;  ///< of the rows
  std::vector<float> factors;        ///< [tokens * slots]
  std::vector<TouchedExpert> touched;

  /// The first three where the tokens are.
  struct {
    const std::int64_t *places = nullptr, *routes = nullptr;
    const float* factors = nullptr;
  } on_device;
  std::array<Tensor, 3> owned;  ///< that memory, unless it is the vectors'

  std::int64_t rows() const noexcept { return static_cast<std::int64_t>(routes.size()); }
};

/// The tensors that say where tokens go, checked but for the values of ids and map.
struct RoutingTensors {
  TensorView ids;
  TensorView weights;  ///< undefined: routes have no factors
  TensorView map;      ///< undefined: ids are experts
};

/// Ids, weights and map come to the host, whose copy is the one that is checked.
Result<Routing> find_routes(const Site& site, const RoutingTensors& tensors, std::int64_t experts,
                            void* stream);

/// Brings routes to a device.
Status send_routes(const char* operation, const Place& place, Routing& routing);

}  // namespace octavo
