// SPDX-License-Identifier: Apache-2.0
// Counting, then placing.
#include "layers/routing.hpp"

#include <cstddef>

#include "core/error.hpp"
#include "ops/values.hpp"

namespace octavo {
namespace {

constexpr std::int64_t kNowhere = -1;

Status check_map(const Site& site, const std::vector<std::int64_t>& map, std::int64_t experts) {
  for (std::size_t id = 0; id < map.size(); ++id) {
    if (map[id] >= kNowhere && map[id] < experts) continue;
    return fail(Code::invalid_argument, "{}[{}] must be in [-1, {}); got {}", site(Arg::expert_map),
                id, experts, map[id]);
  }
  return {};
}

}  // namespace

Result<Routing> find_routes(const Site& site, const RoutingTensors& t, std::int64_t experts,
                            void* stream) {
  std::vector<std::int64_t> map;
  if (t.map.defined()) {
    OCTAVO_TRY_ASSIGN(map, integers_of(site.operation, t.map, stream));
    OCTAVO_TRY(check_map(site, map, experts));
  }
  OCTAVO_TRY_ASSIGN(const std::vector<std::int64_t> all_ids,
                    integers_of(site.operation, t.ids, stream));
  Routing r;
  r.tokens = t.ids.shape[0];
  r.slots = t.ids.shape[1];
  const std::int64_t ids = t.map.defined() ? t.map.shape[0] : experts;
  const auto count = static_cast<std::size_t>(r.tokens * r.slots);
  r.places.resize(count);
  if (t.weights.defined()) {
    OCTAVO_TRY_ASSIGN(r.factors, floats_of(site.operation, t.weights, stream));
  }
  // An expert's rows begin where those before it end.
  std::vector<std::int64_t> next(static_cast<std::size_t>(experts) + 1, 0);
  for (std::size_t route = 0; route < count; ++route) {
    const std::int64_t id = all_ids[route];
    if (id < kNowhere || id >= ids) {
      const auto at = static_cast<std::int64_t>(route);
      return fail(Code::invalid_argument, "{}[{}, {}] must be in [-1, {}); got {}",
                  site(Arg::route_ids), at / r.slots, at % r.slots, ids, id);
    }
    const bool mapped = id != kNowhere && t.map.defined();
    const std::int64_t expert = mapped ? map[static_cast<std::size_t>(id)] : id;
    r.places[route] = expert;
    if (expert != kNowhere) ++next[static_cast<std::size_t>(expert) + 1];
  }
  for (std::size_t e = 0; e < static_cast<std::size_t>(experts); ++e) {
    const std::int64_t rows = next[e + 1];
    next[e + 1] += next[e];
    if (rows > 0) r.touched.push_back({static_cast<std::int64_t>(e), next[e], next[e + 1]});
  }
  r.routes.resize(static_cast<std::size_t>(next.back()));
  for (std::size_t route = 0; route < count; ++route) {
    std::int64_t& place = r.places[route];
    if (place == kNowhere) continue;
    place = next[static_cast<std::size_t>(place)]++;
    r.routes[static_cast<std::size_t>(place)] = static_cast<std::int64_t>(route);
  }
  return r;
}

Status send_routes(const char* operation, const Place& place, Routing& r) {
  OCTAVO_TRY_ASSIGN(r.owned[0], tensor_of(operation, r.places, place));
  OCTAVO_TRY_ASSIGN(r.owned[1], tensor_of(operation, r.routes, place));
  OCTAVO_TRY_ASSIGN(r.owned[2], tensor_of(operation, r.factors, place));
  r.on_device = {r.owned[0].data_as<std::int64_t>(), r.owned[1].data_as<std::int64_t>(),
                 r.owned[2].data_as<float>()};
  return {};
}

}  // namespace octavo
